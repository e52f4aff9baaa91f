"""brainnet: neural networks in which every part is named, observed and explained."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainnet.explanation.explanation import explain as explain
    from brainnet.inference.trained_model import load as load
    from brainnet.kernels.threshold_ramp import threshold_ramp as threshold_ramp
    from brainnet.learning.backpropagation import backpropagate as backpropagate
    from brainnet.observation.watch import watch as watch
    from brainnet.structure.activation import ThresholdRamp as ThresholdRamp
    from brainnet.structure.bias import Bias as Bias
    from brainnet.structure.layer import Layer as Layer
    from brainnet.structure.network import Network as Network
    from brainnet.structure.neuron import Neuron as Neuron
    from brainnet.structure.weights import Weights as Weights
    from brainnet.training.fit import fit as fit

__version__ = "0.1.0"

_MODULES = {
    "Bias": "brainnet.structure.bias",
    "Layer": "brainnet.structure.layer",
    "Network": "brainnet.structure.network",
    "Neuron": "brainnet.structure.neuron",
    "ThresholdRamp": "brainnet.structure.activation",
    "Weights": "brainnet.structure.weights",
    "backpropagate": "brainnet.learning.backpropagation",
    "explain": "brainnet.explanation.explanation",
    "fit": "brainnet.training.fit",
    "load": "brainnet.inference.trained_model",
    "threshold_ramp": "brainnet.kernels.threshold_ramp",
    "watch": "brainnet.observation.watch",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, as `import brainnet` must not import torch."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    # Imported only after a typing error.
    from difflib import get_close_matches

    known = {public.lower(): public for public in _MODULES}
    similar = get_close_matches(name.lower(), known, n=1)
    hint = f". Did you mean {known[similar[0]]!r}?" if similar else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted({*globals(), *_MODULES} - {"TYPE_CHECKING", "import_module"})
