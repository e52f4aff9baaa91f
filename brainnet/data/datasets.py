"""Built-in data sets, which need no download, and the registry of all data sources."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from brainnet.data.dataset import Dataset, classification_task
from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.data.validation import check_number, check_seed, check_whole_number
from brainnet.errors import InputError, did_you_mean

# scikit-learn is imported inside each `load`: it takes half a second, and these classes are needed
# to check a configuration long before any rows are.

TABLE_TARGET, IMAGES_TARGET = "brainnet.data.table.Table", "brainnet.data.images.Images"
PATH_KEYS = ("path", "validation_path", "test_path", "labels")
"""Keys of the `data` group that name files or directories."""

_PLANE = ("x", "y")
# The least value of each option that is a whole number; all others are numbers of at least 0.
_LEAST_COUNTS = {"rows": 1, "classes": 2, "inputs": 1}


class Source(Protocol):
    """A data source: options, and a method that creates the rows."""

    def load(self, seed: int) -> Dataset:
        """Return the data set; generated rows depend on the seed, measured rows do not."""
        ...


class _Measured:
    """Base of the classification data sets that scikit-learn ships; the seed has no effect."""

    name: ClassVar[str]

    def load(self, seed: int) -> Dataset:
        """Return the rows."""
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{self.name}")()
        inputs, classes = (tuple(map(str, bunch[key])) for key in ("feature_names", "target_names"))
        return _build_dataset(self.name, bunch.data, bunch.target, inputs, classes)


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 x 8 pixels, each 0 to 16 (UCI, Alpaydin and Kaynak 1998).

    Example:
        >>> digits = Digits().load(seed=0)
        >>> digits.inputs.shape, digits.image_shape
        (torch.Size([1797, 64]), (8, 8))
    """

    def load(self, seed: int) -> Dataset:
        """Return the rows; the seed has no effect."""
        # The default data of a run are read without scikit-learn, whose import, with pandas, takes
        # as long as a third of the training.
        spec = importlib.util.find_spec("sklearn")
        folder = Path(str(spec.origin if spec else "")).parent
        path = folder / "datasets" / "data" / "digits.csv.gz"
        table = np.loadtxt(path, delimiter=",")
        names = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
        inputs, targets = table[:, :-1], table[:, -1].astype(int)
        return _build_dataset(
            "digits", inputs, targets, names, tuple("0123456789"), image_shape=(8, 8)
        )


@dataclass(frozen=True)
class Iris(_Measured):
    """150 iris flowers of three species, with four lengths in cm (Fisher 1936)."""

    name = "iris"


@dataclass(frozen=True)
class Wine(_Measured):
    """178 wines of three growers, with 13 chemical measurements (UCI, Forina 1991)."""

    name = "wine"


@dataclass(frozen=True)
class BreastCancer(_Measured):
    """569 malignant or benign tumors, with 30 measurements of cell nuclei (UCI, Wolberg 1995)."""

    name = "breast_cancer"


@dataclass(frozen=True)
class Diabetes:
    """442 patients with ten measurements; the target is disease progression after one year.

    Source: Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression" (2004).
    """

    def load(self, seed: int) -> Dataset:
        """Return the patients; the seed has no effect."""
        from sklearn.datasets import load_diabetes

        # Unscaled: scikit-learn's own scaling is fitted on all rows, including test rows.
        bunch = load_diabetes(scaled=False)
        names = tuple(bunch.feature_names)
        return _build_dataset(
            "diabetes", bunch.data, bunch.target, names, target_names=("progression",)
        )


@dataclass(frozen=True)
class _Generated:
    """Base of the generated data sets: the number of rows and the deviation of the noise."""

    rows: int = 1000
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Check the options, also those of a subclass."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _LEAST_COUNTS:
                check_whole_number(field.name, value, least=_LEAST_COUNTS[field.name])
            else:
                check_number(field.name, value, least=0)


@dataclass(frozen=True)
class Moons(_Generated):
    """Two interleaving half moons; `noise` is the standard deviation added."""

    def load(self, seed: int) -> Dataset:
        """Generate the moons with scikit-learn's `make_moons`."""
        from sklearn.datasets import make_moons

        points, labels = make_moons(self.rows, noise=self.noise, random_state=check_seed(seed))
        return _build_dataset("moons", points, labels, _PLANE, ("upper moon", "lower moon"))


@dataclass(frozen=True)
class Circles(_Generated):
    """A circle inside a circle of radius 1; `factor` is the inner radius."""

    factor: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.factor >= 1:
            raise InputError(f"factor must be less than 1, the outer radius; got {self.factor}.")

    def load(self, seed: int) -> Dataset:
        """Generate the circles with scikit-learn's `make_circles`."""
        from sklearn.datasets import make_circles

        points, labels = make_circles(
            self.rows, noise=self.noise, factor=self.factor, random_state=check_seed(seed)
        )
        return _build_dataset("circles", points, labels, _PLANE, ("outer circle", "inner circle"))


@dataclass(frozen=True)
class Spirals(_Generated):
    """Interleaving spiral arms of radius 1, one per class.

    A row has radius r, uniform in 0.1 to 1, and angle `2 pi (turns r + arm / classes)`; `noise` is
    the standard deviation added to both coordinates.

    Example:
        >>> Spirals(rows=9, classes=3).load(seed=0).targets.tolist()
        [0, 1, 2, 0, 1, 2, 0, 1, 2]
    """

    noise: float = 0.03
    classes: int = 2
    turns: float = 1.5

    def load(self, seed: int) -> Dataset:
        """Generate the arms."""
        random = np.random.default_rng(check_seed(seed))
        labels = np.arange(self.rows) % self.classes
        # Not from 0: at the center, the arms would overlap.
        radius = random.uniform(0.1, 1, self.rows)
        angle = 2 * np.pi * (self.turns * radius + labels / self.classes)
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points += random.normal(0, self.noise, points.shape)
        names = tuple(f"arm {arm}" for arm in range(1, self.classes + 1))
        return _build_dataset("spirals", points, labels, _PLANE, names)


@dataclass(frozen=True)
class Xor(_Generated):
    """The task that no single neuron can solve: are two bits different?

    A row is a corner of the unit square; `noise` is the standard deviation added to both
    coordinates. Source: Minsky and Papert, "Perceptrons" (1969).

    Example:
        >>> xor = Xor(rows=4, noise=0).load(seed=0)
        >>> [(*map(int, bits), target) for bits, target in zip(xor.inputs, xor.targets.tolist())]
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    """

    noise: float = 0.15

    def load(self, seed: int) -> Dataset:
        """Generate the rows, one corner after another."""
        random = np.random.default_rng(check_seed(seed))
        corner = np.arange(self.rows) % 4
        bits = np.stack([corner // 2, corner % 2], axis=1)
        # The noise is added last, so that the bits define the targets exactly.
        points = bits + random.normal(0, self.noise, bits.shape)
        labels = bits[:, 0] ^ bits[:, 1]
        return _build_dataset("xor", points, labels, _PLANE, ("same", "different"))


@dataclass(frozen=True)
class Blobs(_Generated):
    """Gaussian clusters around random centers, one per class; `noise` is their deviation."""

    noise: float = 1.0
    classes: int = 3
    inputs: int = 2

    def load(self, seed: int) -> Dataset:
        """Generate the clusters with scikit-learn's `make_blobs`."""
        from sklearn.datasets import make_blobs

        points, labels = make_blobs(
            self.rows,
            n_features=self.inputs,
            centers=self.classes,
            cluster_std=self.noise,
            random_state=check_seed(seed),
        )
        inputs = tuple(f"input_{i}" for i in range(self.inputs))
        classes = tuple(f"blob {blob}" for blob in range(1, self.classes + 1))
        return _build_dataset("blobs", points, labels, inputs, classes)


@dataclass(frozen=True)
class NoisyRegression(_Generated):
    """A curved surface over ten inputs, five of which have no effect, with noise on the target.

    `y = 10 sin(pi x0 x1) + 20 (x2 - 0.5)^2 + 10 x3 + 5 x4 + noise`, inputs uniform in 0 to 1.
    A linear model explains about three quarters of the variance, a network nearly all.
    Source: Friedman, "Multivariate adaptive regression splines" (1991).
    """

    noise: float = 1.0

    def load(self, seed: int) -> Dataset:
        """Generate the rows with scikit-learn's `make_friedman1`."""
        from sklearn.datasets import make_friedman1

        inputs, targets = make_friedman1(self.rows, noise=self.noise, random_state=check_seed(seed))
        names = tuple(f"x{i}" for i in range(inputs.shape[1]))
        return _build_dataset("noisy_regression", inputs, targets, names)


def _build_dataset(
    name: str,
    inputs: Any,
    targets: Any,
    input_names: tuple[str, ...],
    class_names: tuple[str, ...] = (),
    **options: Any,
) -> Dataset:
    """Build a data set from NumPy arrays; without classes, a regression."""
    numbers = torch.from_numpy(targets)
    return Dataset(
        name,
        classification_task(len(class_names)) if class_names else "regression",
        torch.from_numpy(inputs).float(),
        numbers.long() if class_names else numbers.float().unsqueeze(1),
        input_names,
        class_names,
        **options,
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

DATA_SOURCES: dict[str, type[Source]] = {**BUILTIN_SOURCES, "images": Images, "table": Table}


def find_source(name: str) -> type[Source]:
    """Return the class of the built-in data set with this name."""
    if name in BUILTIN_SOURCES:
        return BUILTIN_SOURCES[name]
    raise InputError(
        f"there is no built-in data set {name!r}.{did_you_mean(name, BUILTIN_SOURCES)} The "
        f"built-in data sets are {', '.join(BUILTIN_SOURCES)}. For files of your own, pass "
        f"brainnet.data.table.Table({name!r}, TARGET) or brainnet.data.images.Images(FOLDER)."
    )


def load_dataset(source: Source | Dataset | str | tuple[Any, Any], seed: int) -> Dataset:
    """Return the rows of a source; a Dataset is returned unchanged."""
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str):
        return find_source(source)().load(seed)
    if isinstance(source, tuple | list) and len(source) == 2:
        return Dataset.from_arrays(*source)
    if hasattr(source, "load"):
        return source.load(seed)
    raise InputError(
        "data must be a built-in data set or its name, a Table or Images, a Dataset, or a pair "
        f"(inputs, targets); got {type(source).__name__}. Of a DataFrame, pass "
        "(frame[INPUTS], frame[TARGET]) with numeric INPUTS; if it contains text or dates, write "
        "it to a file: brainnet.data.table.Table(FILE, TARGET)."
    )


def resolve_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` group of a configuration with absolute paths, for use in other folders."""
    # The keys of a user's class may have another meaning.
    if data.get("_target_") not in (TABLE_TARGET, IMAGES_TARGET):
        return dict(data)
    paths = {key: data[key] for key in PATH_KEYS if isinstance(data.get(key), str | Path)}
    # Not `Path.resolve`, which would replace a link by its current target.
    absolute = {
        key: os.path.abspath(Path(path).expanduser())  # noqa: PTH100
        for key, path in paths.items()
        if path
    }
    return {**data, **absolute}


def is_same_path(one: object, other: object) -> bool:
    """Whether two paths lead to the same file or directory; other values are compared."""
    if not isinstance(one, str | Path) or not isinstance(other, str | Path):
        return one == other
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
