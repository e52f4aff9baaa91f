"""Look in a training: one look as it happens under Lightning, with what only its loop knows."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import LOSSES
from brainnet.observation.look_in_a_loop import changes_gradients, scale_of
from brainnet.observation.observed_step import ObservedStep
from brainnet.observation.parts import STEADY, parts
from brainnet.observation.unread_look import UnreadLook
from brainnet.observation.untouched import untouched
from brainnet.training.module import LearningModule


class LookInTraining:
    """One look as it happens: what the hooks observe, and what only the training loop knows.

    Args:
        observed: the step, listened to from now on.
        step: optimizer steps taken before it.
        epoch: passes over the training rows completed.

    Attributes:
        batches: those whose gradients add up to the step.
    """

    def __init__(self, observed: ObservedStep, step: int, epoch: int) -> None:
        self.observed = observed
        self.step = step
        self.epoch = epoch
        self.batches: list[object] = []
        self.loss: Tensor | None = None
        self.loss_before: Tensor | None = None
        self.steady = False  # whether the loss of the step is already that of evaluation
        self.learning_rate: float | None = None

    def before_update(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Read the gradients, the learning rate and, where it can be told, the loss once more."""
        if self.learning_rate is None:
            self.learning_rate = float(optimizer.param_groups[0]["lr"])
            self.steady = len(self.batches) == 1 and _is_steady(module, optimizer)
            # A captured network would give its answer in the memory of the gradients.
            if not self.steady and getattr(module, "keeps_answers", True):
                self.loss_before = loss_of(trainer, module, self.batches)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.observed.before_update(
            [parameter for group in optimizer.param_groups for parameter in group["params"]],
            scale=scale_of(scaler, module.device),
            # Clipping comes after this, and in manual optimization whatever their step does.
            keep_gradients=bool(trainer.gradient_clip_val)
            or not module.automatic_optimization
            or changes_gradients(optimizer),
        )

    def add_loss(self, outputs: Tensor | Mapping[str, Any] | None) -> None:
        """Add the loss of one batch; Lightning has divided it by the batches of the step."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = loss.detach()
            self.loss = loss if self.loss is None else self.loss + loss

    def finish(self, trainer: Trainer, module: LightningModule) -> UnreadLook:
        """Bring home what was seen."""
        self.observed.after_update()
        self.observed.close()  # before the network is asked again, so that it takes less time
        if self.steady:
            self.loss_before = self.loss
        after = None if self.loss_before is None else loss_of(trainer, module, self.batches)
        return self.observed.finish(
            self.step,
            self.epoch,
            learning_rate=self.learning_rate,
            loss=self.loss,
            before=self.loss_before,
            after=after,
        )


def loss_of(trainer: Trainer, module: LightningModule, batches: list[Any]) -> Tensor | None:
    """The loss of some batches as the network stands, in evaluation mode and without a trace.

    Returns:
        None for a module that is not brainnet's own: its `training_step` may do more than judge.
    """
    if not isinstance(module, LearningModule) or not batches:
        return None
    with untouched(module.network, module.loss), trainer.precision_plugin.forward_context():
        losses = [module.loss(module.network(inputs), targets) for inputs, targets in batches]
    return losses[0] if len(losses) == 1 else torch.stack(losses).mean()


def _is_steady(module: LightningModule, optimizer: Optimizer) -> bool:
    """Whether a step's own loss is what evaluation would say of the same batch before it."""
    return (
        type(module) is LearningModule  # a derived one may judge by more than the bare loss
        and type(optimizer) in OPTIMIZERS.values()  # others may judge a batch several times
        and type(module.loss) in LOSSES.values()
        and all(type(part) in STEADY for part in parts(module.network))
    )
