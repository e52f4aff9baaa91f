"""What was typed on the command line, and so is meant by the person who typed it."""

from collections.abc import Iterable, Iterator, Mapping

from hydra.core.override_parser.types import Override

from brainnet.building.targets import Consent, allowed_roots


def consent_of(overrides: Iterable[Override]) -> Consent:
    """Every class named by a `_target_` on the command line, and the roots of BRAINNET_ALLOW."""
    typed = frozenset(name for override in overrides for name in _names(override))
    return Consent(typed=typed, roots=allowed_roots())


def _names(override: Override) -> Iterator[str]:
    if override.is_delete():
        return
    direct = override.key_or_group.rpartition(".")[2] == "_target_"
    values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
    for value in values:
        if direct and isinstance(value, str):
            yield value
        yield from _nested_names(value)


def _nested_names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key) == "_target_" and isinstance(inner, str):
                yield inner
            yield from _nested_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nested_names(inner)
