"""What Hydra itself would build or call, held against the rule that `_target_`s follow.

Hydra instantiates its callbacks, launcher and sweeper, and hands its logging to Python's own
configuration, which calls anything by its name. All of it may stand in somebody else's YAML file.
"""

from collections.abc import Iterator, Mapping

from omegaconf import DictConfig, OmegaConf

from brainnet.building import targets
from brainnet.building.targets import Consent, joined
from brainnet.cli.configuration import leaves
from brainnet.errors import InputError

PLUGINS = ("launcher", "sweeper")
LOGGING = ("job_logging", "hydra_logging")
# Apart, since a handler built in the place of a formatter would open what its format names.
LOG_FORMATTERS = ("colorlog.ColoredFormatter", "logging.Formatter")
LOG_HANDLERS = ("logging.FileHandler", "logging.NullHandler", "logging.StreamHandler")
LOG_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# Hydra's own. A log elsewhere could write lines of the file's choice into any file there is.
LOG_FILES = (
    "${hydra.runtime.output_dir}/${hydra.job.name}.log",
    "hydra-${hydra.job.name}.log",
)
PROTOCOLS = ("ext:", "cfg:")


def check_hydra(config: DictConfig, consent: Consent) -> None:
    """Hold Hydra's own node against the rule.

    A reference (`${...}`) is refused wherever something could be built from it: what it leads to
    is known only once Hydra has followed it.

    Raises:
        InputError: for a class that was neither typed nor allowed, for a reference, for a log
            file or an environment that a file has no business with.
    """
    own = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(own, Mapping)
    _check_built(own.get("callbacks"), "hydra.callbacks", consent)
    for key in PLUGINS:
        # Hydra builds only its plugins here, but from their keys whatever these name.
        node = own.get(key)
        if isinstance(node, Mapping):
            node = {name: value for name, value in node.items() if name != "_target_"}
        _check_built(node, f"hydra.{key}", consent)
    for key in LOGGING:
        _check_logging(own.get(key), f"hydra.{key}")
    if (own.get("job") or {}).get("env_set"):
        raise InputError(
            "hydra.job.env_set is not allowed: the environment decides which programs are run. "
            "Set the variables in your shell."
        )


def _check_built(node: object, place: str, consent: Consent) -> None:
    for path, value in _texts(node, place):
        if value.startswith("${") and value.endswith("}"):
            raise InputError(_refers(path, value))
    for path, name in targets.targets(node, place):
        if not (name in consent.typed or targets.under(str(name), consent.roots)):
            raise InputError(targets.refusal(str(name), path))


def _check_logging(node: object, place: str) -> None:
    for path, value in _texts(node, place):
        last = path.rpartition(".")[2]
        if last == "filename":
            allowed: tuple[str, ...] = LOG_FILES
        elif last in ("()", "class"):
            allowed = LOG_FORMATTERS if ".formatters." in path else LOG_HANDLERS
        elif value.startswith(PROTOCOLS):
            allowed = LOG_STREAMS
        elif "${" in value:
            raise InputError(_refers(path, value))
        else:
            continue
        if value not in allowed:
            raise InputError(
                f"{path}={value} is not allowed: there, logging takes {', '.join(allowed)} alone."
            )


def _texts(node: object, place: str) -> Iterator[tuple[str, str]]:
    """Every text of a tree, those in lists included, with its dotted place."""
    for path, value in leaves(node, place):
        if isinstance(value, list):
            for index, inner in enumerate(value):
                yield from _texts(inner, joined(path, str(index)))
        elif isinstance(value, str):
            yield path, value


def _refers(path: str, value: str) -> str:
    return (
        f"{path}={value} is not allowed: what Hydra builds must be written out, so that it can be "
        "checked before it is built."
    )
