"""Build: the only place where a configuration turns into objects."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brainnet.building.targets import Consent, joined, resolve
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

Options = Mapping[str, Any]
PLAIN_START = "torch.nn.modules.module.Module.__init__"
# Keys of `data` that go to the split and the batches, whatever the class of the data.
ROWS = ("batch_size", "normalize", "normalize_targets", "validation", "test")


@dataclass(frozen=True, slots=True)
class Build:
    """Builds what `_target_` names, under one consent."""

    consent: Consent

    def target(self, options: Options, place: str) -> type:
        """The class that a group of keys names.

        Raises:
            InputError: when the rule of `targets` does not allow it.
        """
        return resolve(options.get("_target_"), place, self.consent)

    def instance(self, options: Options, place: str) -> Any:  # noqa: ANN401 - of any allowed class
        """An object of the class that `_target_` names, called with the other keys by name.

        Raises:
            InputError: when the class is not allowed, has no such key, or refuses a value.
        """
        target = self.target(options, place)
        given = {key: value for key, value in options.items() if key != "_target_"}
        check_accepted(given, target, place)
        given = {key: self._nested(value, joined(place, key)) for key, value in given.items()}
        try:
            return target(**given)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"{place}: {target.__name__} says: {error}") from error

    def _nested(self, value: object, place: str) -> object:
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self.instance(value, place)
            return {key: self._nested(inner, joined(place, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._nested(inner, joined(place, str(i))) for i, inner in enumerate(value)]
        return value


def accepted(target: type) -> list[str] | None:
    """The names of the arguments a class takes; None when it takes any."""
    start = inspect.getattr_static(target, "__init__")
    if inspect.isfunction(start) and f"{start.__module__}.{start.__qualname__}" == PLAIN_START:
        return []  # a class without one of its own; Module's takes any, and then refuses them
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in named]


def accepts(target: type, name: str) -> bool:
    """Whether a class takes an argument of this very name."""
    return name in (accepted(target) or inspect.signature(target).parameters)


def check_accepted(
    keys: Iterable[str], target: type, place: str, *, beside: Sequence[str] = ()
) -> None:
    """Hold keys against the arguments of a class, and those that go elsewhere `beside` it.

    Raises:
        InputError: at the first that the class does not take.
    """
    names = accepted(target)
    for key in keys:
        if names is not None and key not in (*names, *beside):
            known = [*names, *beside]
            raise InputError(
                f"{joined(place, key)}: {target.__name__} has no such key."
                f"{did_you_mean(key, known)} It takes {', '.join(known) or 'none'}."
            )
