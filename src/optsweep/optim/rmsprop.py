"""RMSprop in one pass over the weights, where torch takes five."""

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

# Steps after which nothing is left of Adam's corrections; one more makes no difference to a
# float32 of this size, which is what `adam` counts in.
_LATE = 2.0**30
_SHORTEST = 0.9999  # the largest alpha for which that holds


class OnePassRMSprop(torch.optim.RMSprop):
    """torch's RMSprop, without momentum and centering, by the fused kernel of torch's Adam.

    RMSprop (Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for machine learning") is
    v <- alpha v + (1 - alpha) g^2, w <- w - lr g / (sqrt(v) + eps). So is Adam, where its mean of
    gradients is the last gradient alone (beta1 = 0) and its corrections for the first steps are
    over. The state has torch's names, so that either can resume from the other.
    """

    @functools.cached_property
    def _late(self) -> Tensor:
        return torch.tensor(_LATE)

    @functools.cached_property
    def _last(self) -> dict[Tensor, Tensor]:
        """The kernel's means of gradients, which nobody else needs."""
        return {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types the two cases apart
        """Moves every parameter against its gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weights for weights in group["params"] if weights.grad is not None]
            for each in weights:
                if not self.state[each]:
                    self.state[each] |= {
                        "step": torch.tensor(0.0),
                        "square_avg": torch.zeros_like(each),
                    }
                self.state[each]["step"] += 1
                if each not in self._last:
                    self._last[each] = torch.zeros_like(each)
            adam(
                weights,
                [each.grad for each in weights],
                [self._last[each] for each in weights],
                [self.state[each]["square_avg"] for each in weights],
                [],
                [self._late] * len(weights),
                fused=True,
                amsgrad=False,
                beta1=0.0,
                beta2=group["alpha"],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=group["maximize"],
            )
        return loss


def takes_one_pass(arguments: Mapping[str, object]) -> bool:
    """Whether RMSprop with these arguments is what `OnePassRMSprop` computes."""
    alpha = arguments.get("alpha", 0.99)
    plain = not arguments.get("momentum") and not arguments.get("centered")
    return plain and isinstance(alpha, float | int) and alpha <= _SHORTEST
