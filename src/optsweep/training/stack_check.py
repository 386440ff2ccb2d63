"""Whether a model can be stacked: tried on four samples, stacked and alone."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optsweep.models.losses import Loss
from optsweep.system.exceptions import first_line
from optsweep.training.stacked_model import StackedModel

# By how much losses and gradients may differ that are computed in another way, as a share: sums are
# taken in another order. What is wrong is wrong by far more.
_TOLERANCE = 1e-3

# Parts of torch's messages, and what they say.
_PLAIN = (
    ("random operation", "it draws random numbers, as dropout does, which its runs would share"),
    ("data-dependent control flow", "its forward pass decides by its data, with if or while"),
    (".item() on a Tensor", "its forward pass decides by its data, with item()"),
    ("in-place", "its forward pass changes tensors in place"),
    ("inplace", "its forward pass changes tensors in place"),
)


def why_not_stackable(
    models: Sequence[nn.Module], loss: Loss, input_shape: Sequence[int], classes: int
) -> str:
    """Why models of this kind cannot be stacked, in words; empty where they can.

    Two models are trained on four samples for one backward pass, stacked and each alone, on the
    CPU; what is stacked must give the losses and gradients of what is alone.
    """
    kinds = {(p.dtype, p.requires_grad) for p in models[0].parameters()}
    if len(kinds) > 1:
        return "its parameters are of several kinds (types, or frozen and trained ones)"
    named = {**dict(models[0].named_parameters()), **dict(models[0].named_buffers())}
    if not models[0].state_dict().keys() <= named.keys():
        return "it keeps more than parameters and buffers, or one of them under two names"
    images = torch.rand(4, *input_shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4) % classes
    pair = [copy.deepcopy(model).train() for model in models[:2]]
    try:
        stacked = StackedModel(pair)
        stacked.train()
        outputs = stacked(images)
        together = loss(outputs, labels.expand(outputs.shape[:-1])).mean(dim=-1)
        together.sum().backward()
        for run, model in enumerate(pair):
            alone = loss(model(images), labels).mean()
            alone.backward()
            if not close(together[run], alone):
                return "its losses come out otherwise than alone"
            for own, parameter in zip(stacked.parameters_of(run), model.parameters(), strict=True):
                if parameter.grad is None or not close(own.grad, parameter.grad):
                    return "its gradients come out otherwise than alone"
    except Exception as error:  # whatever a model of somebody's own raises under vmap
        return _in_plain_words(first_line(error))
    return ""


def _in_plain_words(message: str) -> str:
    """What torch says of a model that `vmap` cannot take, for who has never heard of it."""
    found = [words for part, words in _PLAIN if part in message]
    return " ".join((found or [message])[0].split())


def close(given: Tensor | None, wanted: Tensor) -> bool:
    """Whether two tensors differ by no more than sums in another order do."""
    if given is None:
        return False
    scale = wanted.detach().abs().max().item()
    return bool((given - wanted).detach().abs().max().item() <= _TOLERANCE * max(scale, 1e-6))
