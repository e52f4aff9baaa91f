"""Precision: whether a training can be computed with the numbers it asks for."""

import torch
from lightning.pytorch import Trainer
from torch import nn

from brainnet.errors import InputError
from brainnet.training.module import OptimizerFactory


def check_precision(trainer: Trainer, network: nn.Module, optimizer: OptimizerFactory) -> None:
    """Raise an InputError where half precision would lose what keeps the optimizer from 0 / 0.

    Adam and its kind divide by the size of past gradients plus `eps`. Its default of 1e-8 is zero
    in float16, whose smallest number is 6e-8, and a weight without a gradient becomes NaN.
    """
    if trainer.precision != "16-true":
        return
    for group in optimizer(network.parameters()).param_groups:
        eps = group.get("eps")
        if eps is not None and torch.tensor(float(eps), dtype=torch.float16) == 0:
            raise InputError(
                f"with precision 16-true the optimizer's eps must not vanish; eps={eps:g} is 0 in "
                "16-bit numbers. Set optimizer.eps=1e-4, or trainer.precision=bf16-true."
            )
