"""Steps for which subnormal numbers, those nearest to zero, are zero.

The momentum of a weight whose gradient stays zero, as that of a pixel that is always black, shrinks
by a tenth in each step until it is subnormal, below 1.2e-38, and stays so. A processor takes some
hundred cycles for each such number. After some epochs of fashion_mlp 5 % of Adam's state is such,
and a step takes 1.2 times as long as with zeros in their place. A movement of that size is far
below the last digit of any weight that is not itself so near to zero.
"""

from collections.abc import Sequence

import torch
from torch import optim
from torch.optim import Optimizer

from optsweep.optim.rmsprop import OnePassRMSprop

# What weighs momenta against each other. Rprop looks at signs, which zeros do not have; a class of
# somebody else's may too.
_WEIGHING = (
    *(optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, OnePassRMSprop),
    *(optim.Adamax, optim.NAdam, optim.RAdam),
)
# What keeps a step from being divided by the root of a square that is taken for zero, 1e-19.
_EPS = 1e-10


def may_be_zero(optimizers: Sequence[Optimizer]) -> bool:
    """Whether optimizers move weights alike, and quicker, where subnormal numbers are zero.

    They do on a CPU and in one thread: torch sets it for the thread that asks, and a thread that
    is started meanwhile keeps it. Not where the process takes them for zero by itself, as torch
    does not say so.
    """
    if torch.get_num_threads() > 1 or not all(type(each) in _WEIGHING for each in optimizers):
        return False
    groups = [group for each in optimizers for group in each.param_groups]
    on_cpu = all(own.device.type == "cpu" for group in groups for own in group["params"])
    return on_cpu and all(group.get("eps", 1.0) >= _EPS for group in groups) and _are_computed()


def _are_computed() -> bool:
    return bool(torch.tensor(1e-40) * 1)
