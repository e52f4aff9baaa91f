"""The two failures that are no bug of brainnet: wrong input, and training that blew up."""


class InputError(ValueError):
    """What the user gave is wrong; the message says what was needed, what came and what to do."""


class TrainingFailure(RuntimeError):  # noqa: N818  (a failed training, not a failed call)
    """The training itself failed: the loss stopped being finite."""
