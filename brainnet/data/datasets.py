"""Data sets that need no download, and the registry of all data sources."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from brainnet.data.dataset import Dataset, classification_task
from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.data.validation import check_number, check_seed, check_whole_number
from brainnet.errors import InputError, did_you_mean

# scikit-learn is imported inside each `load`: it costs half a second, and a configuration is
# composed and checked from these classes long before any rows are needed.


class Source(Protocol):
    """Where a data set comes from: frozen options, and one method that makes the rows."""

    def load(self, seed: int) -> Dataset:
        """Return the data set; generated rows depend on the seed, measured ones do not."""
        ...


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 handwritten digits of 8 x 8 pixels, each 0 to 16 (UCI, Alpaydin and Kaynak 1998).

    Example:
        >>> digits = Digits().load(seed=0)
        >>> digits.inputs.shape, digits.image_shape
        (torch.Size([1797, 64]), (8, 8))
    """

    def load(self, seed: int) -> Dataset:
        """Return the digits, whatever the seed."""
        from sklearn.datasets import load_digits

        return _measured("digits", load_digits(), image_shape=(8, 8))


@dataclass(frozen=True, slots=True)
class Iris:
    """150 iris flowers of three species, by four lengths in cm (Fisher 1936)."""

    def load(self, seed: int) -> Dataset:
        """Return the flowers, whatever the seed."""
        from sklearn.datasets import load_iris

        return _measured("iris", load_iris())


@dataclass(frozen=True, slots=True)
class Wine:
    """178 wines from three growers, by 13 chemical measurements (UCI, Forina 1991)."""

    def load(self, seed: int) -> Dataset:
        """Return the wines, whatever the seed."""
        from sklearn.datasets import load_wine

        return _measured("wine", load_wine())


@dataclass(frozen=True, slots=True)
class BreastCancer:
    """569 tumours, malignant or benign, by 30 measurements of cell nuclei (UCI, Wolberg 1995)."""

    def load(self, seed: int) -> Dataset:
        """Return the tumours, whatever the seed."""
        from sklearn.datasets import load_breast_cancer

        return _measured("breast_cancer", load_breast_cancer())


@dataclass(frozen=True, slots=True)
class Diabetes:
    """442 patients by ten measurements; the target is how far the illness went in a year.

    Source: Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression" (2004).
    """

    def load(self, seed: int) -> Dataset:
        """Return the patients, whatever the seed."""
        from sklearn.datasets import load_diabetes

        # Raw: scikit-learn's own scaling is measured on all rows, the test rows among them.
        found = load_diabetes(scaled=False)
        inputs = torch.from_numpy(found.data).float()
        targets = torch.from_numpy(found.target).float().unsqueeze(1)
        names = tuple(found.feature_names)
        return Dataset(
            "diabetes", "regression", inputs, targets, names, target_names=("progression",)
        )


@dataclass(frozen=True, slots=True)
class Moons:
    """Two half moons that reach into each other; `noise` is the standard deviation added."""

    rows: int = 1000
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)

    def load(self, seed: int) -> Dataset:
        """Draw the moons with scikit-learn's `make_moons`."""
        from sklearn.datasets import make_moons

        points, labels = make_moons(self.rows, noise=self.noise, random_state=check_seed(seed))
        return _plane("moons", points, labels, ("upper moon", "lower moon"))


@dataclass(frozen=True, slots=True)
class Circles:
    """One circle inside another; `factor` is the inner radius, the outer being 1."""

    rows: int = 1000
    noise: float = 0.1
    factor: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)
        if check_number("factor", self.factor, least=0) >= 1:
            raise InputError(f"factor must be less than 1, the outer radius; got {self.factor}.")

    def load(self, seed: int) -> Dataset:
        """Draw the circles with scikit-learn's `make_circles`."""
        from sklearn.datasets import make_circles

        points, labels = make_circles(
            self.rows, noise=self.noise, factor=self.factor, random_state=check_seed(seed)
        )
        return _plane("circles", points, labels, ("outer circle", "inner circle"))


@dataclass(frozen=True, slots=True)
class Spirals:
    """Arms that wind around each other, each class one arm, out to radius 1.

    A row lies at radius r, uniform in 0.1 to 1, and angle `2 pi (turns r + arm / classes)`; `noise`
    is the standard deviation added to both coordinates.

    Example:
        >>> Spirals(rows=9, classes=3).load(seed=0).targets.tolist()
        [0, 1, 2, 0, 1, 2, 0, 1, 2]
    """

    rows: int = 1000
    noise: float = 0.03
    classes: int = 2
    turns: float = 1.5

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)
        check_whole_number("classes", self.classes, least=2)
        check_number("turns", self.turns, least=0)

    def load(self, seed: int) -> Dataset:
        """Draw the arms."""
        random = np.random.default_rng(check_seed(seed))
        labels = np.arange(self.rows) % self.classes
        radius = random.uniform(0.1, 1, self.rows)
        angle = 2 * np.pi * (self.turns * radius + labels / self.classes)
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points += random.normal(0, self.noise, points.shape)
        names = tuple(f"arm {arm}" for arm in range(1, self.classes + 1))
        return _plane("spirals", points, labels, names)


@dataclass(frozen=True, slots=True)
class Xor:
    """The question no single neuron can answer: are two bits different?

    A row is a corner of the unit square, with noise of this standard deviation on both
    coordinates. Source: Minsky and Papert, "Perceptrons" (1969).

    Example:
        >>> xor = Xor(rows=4, noise=0).load(seed=0)
        >>> [(*map(int, bits), answer) for bits, answer in zip(xor.inputs, xor.targets.tolist())]
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    """

    rows: int = 1000
    noise: float = 0.15

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)

    def load(self, seed: int) -> Dataset:
        """Draw the rows, each corner in turn."""
        random = np.random.default_rng(check_seed(seed))
        corner = np.arange(self.rows) % 4
        bits = np.stack([corner // 2, corner % 2], axis=1)
        points = bits + random.normal(0, self.noise, bits.shape)
        return _plane("xor", points, bits[:, 0] ^ bits[:, 1], ("same", "different"))


@dataclass(frozen=True, slots=True)
class Blobs:
    """Gaussian clouds around random centres, each class one cloud; `noise` is their spread."""

    rows: int = 1000
    noise: float = 1.0
    classes: int = 3
    inputs: int = 2

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)
        check_whole_number("classes", self.classes, least=2)
        check_whole_number("inputs", self.inputs, least=1)

    def load(self, seed: int) -> Dataset:
        """Draw the clouds with scikit-learn's `make_blobs`."""
        from sklearn.datasets import make_blobs

        points, labels = make_blobs(
            self.rows,
            n_features=self.inputs,
            centers=self.classes,
            cluster_std=self.noise,
            random_state=check_seed(seed),
        )
        return Dataset(
            "blobs",
            classification_task(self.classes),
            torch.from_numpy(points).float(),
            torch.from_numpy(labels).long(),
            tuple(f"input_{column}" for column in range(self.inputs)),
            tuple(f"blob {blob}" for blob in range(1, self.classes + 1)),
        )


@dataclass(frozen=True, slots=True)
class NoisyRegression:
    """A curved surface over ten inputs, five of which do not matter, with noise on the target.

    `y = 10 sin(pi x0 x1) + 20 (x2 - 0.5)^2 + 10 x3 + 5 x4 + noise`, inputs uniform in 0 to 1.
    A linear model finds about three quarters of the variance, a network nearly all.
    Source: Friedman, "Multivariate adaptive regression splines" (1991).
    """

    rows: int = 1000
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        _check_rows_and_noise(self.rows, self.noise)

    def load(self, seed: int) -> Dataset:
        """Draw the rows with scikit-learn's `make_friedman1`."""
        from sklearn.datasets import make_friedman1

        inputs, targets = make_friedman1(self.rows, noise=self.noise, random_state=check_seed(seed))
        return Dataset(
            "noisy_regression",
            "regression",
            torch.from_numpy(inputs).float(),
            torch.from_numpy(targets).float().unsqueeze(1),
            tuple(f"x{column}" for column in range(inputs.shape[1])),
        )


BUILTIN_SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "iris": Iris,
    "wine": Wine,
    "breast_cancer": BreastCancer,
    "diabetes": Diabetes,
    "moons": Moons,
    "circles": Circles,
    "spirals": Spirals,
    "xor": Xor,
    "blobs": Blobs,
    "noisy_regression": NoisyRegression,
}


def find_source(name: str) -> type[Source]:
    """Return the class of the built-in data set with this name.

    Raises:
        InputError: there is none; the message lists them all.

    Example:
        >>> find_source("moons")(noise=0.2)
        Moons(rows=1000, noise=0.2)
    """
    if name not in BUILTIN_SOURCES:
        if "." in name or "/" in name:
            raise InputError(
                f"{name!r} is no built-in data set. For a file of your own: "
                f"brainnet.data.table.Table({name!r}, TARGET), where TARGET names the column with "
                "the answers; for pictures brainnet.data.images.Images(FOLDER)."
            )
        raise InputError(
            f"there is no built-in data set {name!r}.{did_you_mean(name, BUILTIN_SOURCES)} "
            f"There are: {', '.join(BUILTIN_SOURCES)}."
        )
    return BUILTIN_SOURCES[name]


def _check_rows_and_noise(rows: object, noise: object) -> None:
    check_whole_number("rows", rows, least=1)
    check_number("noise", noise, least=0)


def _measured(name: str, found: Any, image_shape: tuple[int, int] | None = None) -> Dataset:
    class_names = tuple(str(label) for label in found.target_names)
    return Dataset(
        name,
        classification_task(len(class_names)),
        torch.from_numpy(found.data).float(),
        torch.from_numpy(found.target).long(),
        tuple(str(column) for column in found.feature_names),
        class_names,
        image_shape,
    )


def _plane(name: str, points: Any, labels: Any, class_names: tuple[str, ...]) -> Dataset:
    return Dataset(
        name,
        classification_task(len(class_names)),
        torch.from_numpy(points).float(),
        torch.from_numpy(labels).long(),
        ("x", "y"),
        class_names,
    )


FILES: dict[str, type[Source]] = {"images": Images, "table": Table}

SOURCES: dict[str, type[Source]] = {**BUILTIN_SOURCES, **FILES}


def is_custom_data(source: object) -> bool:
    """Whether loading makes rows that nobody else holds; a source of the user's may keep them."""
    return isinstance(source, str | tuple | list) or type(source) in SOURCES.values()


def load_dataset(source: Source | Dataset | str | tuple[Any, Any], seed: int) -> Dataset:
    """Return the rows of a source; a Dataset is returned as it is.

    Raises:
        InputError: it is no data, or its rows cannot be read.

    Example:
        >>> len(loaded("iris", seed=0))
        150
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str):
        return find_source(source)().load(seed)
    if isinstance(source, tuple | list) and len(source) == 2:
        return Dataset.from_arrays(*source)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        raise InputError(
            "a DataFrame alone does not say which column is to be predicted: give "
            "(frame[INPUTS], frame[TARGET]), where INPUTS are the names of columns of numbers; or, "
            "with columns of words or dates, write it to a file: "
            "brainnet.data.table.Table(FILE, TARGET)."
        )
    if hasattr(source, "load"):
        return source.load(seed)
    raise InputError(
        "data must be a built-in data set or its name, a Table or Images of your files, a Dataset, "
        f"or a pair (inputs, targets); got {type(source).__name__}."
    )


TABLE, IMAGES = "brainnet.data.table.Table", "brainnet.data.images.Images"

PATHS = ("path", "validation_path", "test_path", "labels")

"""The keys of `data` that name files or folders."""


def resolve_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` group of a configuration with whole paths.

    A run is gone on with, judged and explained from other folders than it was trained in. Links
    stay what they are.

    Example:
        >>> located({"_target_": TABLE, "path": "/data/../rows.csv", "target": "path"})["path"]
        '/rows.csv'
    """
    return _with_paths(data, whole)


def relative_to_cwd(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` group with the paths below this folder as they would be typed in it."""
    return _with_paths(data, _from_here)


def _with_paths(data: Mapping[str, Any], change: Callable[[str | Path], str]) -> dict[str, Any]:
    if data.get("_target_") not in (TABLE, IMAGES):
        return dict(data)
    return {
        key: change(value) if key in PATHS and isinstance(value, str | Path) and value else value
        for key, value in data.items()
    }


def _from_here(path: str | Path) -> str:
    here, found = Path.cwd(), Path(path)
    return str(found.relative_to(here)) if found.is_relative_to(here) else str(path)


def whole(path: str | Path) -> str:
    """Return a path as it is found from any folder."""
    # Not `resolve`, which would name the file a link leads to now.
    return os.path.abspath(Path(path).expanduser())


def is_same_path(one: object, other: object) -> bool:
    """Whether two paths, however they are spelled, lead to the same file or folder."""
    if not isinstance(one, str | Path) or not isinstance(other, str | Path):
        return one == other
    try:
        return whole(one) == whole(other) or Path(whole(one)).samefile(whole(other))
    except (OSError, ValueError):  # one is not there
        return False
