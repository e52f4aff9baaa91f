"""A group whose class was typed: keys that its file gave to the first class alone are let go."""

from collections.abc import Iterable

from hydra.core.override_parser.types import Override

from brainnet.building.build import ROWS, accepted
from brainnet.building.targets import FAMILY_OF_GROUP, Consent, joined, resolve
from brainnet.cli.configuration import Config


def without_leftovers(config: Config, overrides: Iterable[Override], consent: Consent) -> Config:
    """The configuration, less what a typed `_target_` leaves over of the file it was typed into.

    `activation._target_=torch.nn.SELU` is typed into a file about another class: its threshold
    means nothing to SELU. What was typed stays, and is refused later where the class has no such
    key.

    Args:
        config: checked, with every `_target_` allowed.
        overrides: what was typed.
        consent: which classes the words allow.
    """
    typed = {override.key_or_group for override in overrides}
    kept = dict(config)
    for group in FAMILY_OF_GROUP:
        if joined(group, "_target_") not in typed or config[group].get("_target_") is None:
            continue
        names = accepted(resolve(config[group]["_target_"], group, consent))
        if names is None:
            continue
        known = {"_target_", *names, *(ROWS if group == "data" else ())}
        kept[group] = {
            key: value
            for key, value in config[group].items()
            if key in known or _was_typed(joined(group, key), typed)
        }
    return kept


def _was_typed(path: str, typed: set[str]) -> bool:
    return any(word == path or word.startswith(f"{path}.") for word in typed)
