"""Which parameters each part of an optimizer takes, and several optimizers as one.

An option whose `_target_` is `optsweep.optim.Routed` names its parts: each is an optimizer with
`_takes_`, the words that its parameters have to answer to. A parameter goes to the first part that
takes it. The words come from the parameter's shape and from its place among the model's layers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError, nearest

WORDS = (
    "weights",  # two or more dimensions, in no normalisation
    "matrices",  # weights of two dimensions
    "convolutions",  # weights of three or more
    "biases",  # fewer than two dimensions, in no normalisation
    "norms",  # of a normalisation
    "first",  # of the layer with the model's first weights
    "last",  # of the layer with the model's last weights
    "hidden",  # weights of neither
    "rest",  # any
)


@dataclass(frozen=True)
class Traits:
    """A parameter's name in its model, and the words that it answers to."""

    name: str
    words: frozenset[str]

    @property
    def decays(self) -> bool:
        """Whether `no_decay=true` leaves it its weight decay."""
        return "weights" in self.words


def traits_of(model: nn.Module) -> list[Traits]:
    """The traits of a model's parameters, in their order."""
    norms = {
        id(own)
        for module in model.modules()
        if "Norm" in type(module).__name__
        for own in module.parameters(recurse=False)
    }
    named = dict(model.named_parameters())
    weights = [name for name, p in named.items() if p.ndim >= 2 and id(p) not in norms]
    ends = [_layer(weights[0]), _layer(weights[-1])] if weights else ["", ""]
    return [
        Traits(name, frozenset(_words(name, p, id(p) in norms, ends))) for name, p in named.items()
    ]


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _words(name: str, parameter: Tensor, in_norm: bool, ends: Sequence[str]) -> list[str]:
    is_weight = parameter.ndim >= 2 and not in_norm
    first, last = (_layer(name) == end for end in ends)
    holds = {
        "weights": is_weight,
        "matrices": is_weight and parameter.ndim == 2,
        "convolutions": is_weight and parameter.ndim > 2,
        "biases": not is_weight and not in_norm,
        "norms": in_norm,
        "first": first,
        "last": last,
        "hidden": is_weight and not first and not last,
        "rest": True,
    }
    return [word for word, does in holds.items() if does]


@dataclass(frozen=True)
class Part:
    """One optimizer of several: its name in the option's file, what it builds, what it takes.

    `flatten` says that a convolution is given as a matrix, a row for each of its outputs.
    """

    name: str
    option: Option
    takes: Sequence[str]
    flatten: bool

    @property
    def group(self) -> str:
        """What errors call it, as its values are typed."""
        return f"optimizer.{self.name}"


_RESERVED = ("_target_", "_takes_", "_flatten_")


def parts_of(option: Option) -> list[Part]:
    """The parts of an option that names several optimizers.

    Raises:
        SettingsError: one of them is no optimizer with `_takes_`, or takes what nothing is.
    """
    parts = [_part(name, node) for name, node in option.arguments.items()]
    if not parts:
        raise SettingsError(f"optimizer={option.name} has no parts; each needs {_needs('NAME')}")
    return parts


def _part(name: str, node: Any) -> Part:
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise SettingsError(f"optimizer.{name}={node}: a part needs {_needs(name)}")
    given = node.get("_takes_")
    takes = [given] if isinstance(given, str) else given
    if not isinstance(takes, list | tuple) or not takes:
        raise SettingsError(f"optimizer.{name} lacks _takes_; a part needs {_needs(name)}")
    for word in takes:
        if word not in WORDS and "*" not in str(word):
            best = nearest(str(word), WORDS) or "rest"
            raise SettingsError(
                f"optimizer.{name}._takes_={word}: must be of {', '.join(WORDS)}, or a pattern of "
                f"names with *; type for example optimizer.{name}._takes_={best}"
            )
    arguments = {key: value for key, value in node.items() if key not in _RESERVED}
    option = Option(node["_target_"].rpartition(".")[2], node["_target_"], arguments)
    return Part(name, option, takes, node.get("_flatten_") is True)


def _needs(name: str) -> str:
    return f"optimizer.{name}._target_, an optimizer's class, and optimizer.{name}._takes_"


def route(
    settings: Settings, parts: Sequence[Part], traits: Sequence[Traits]
) -> list[tuple[Part, list[int]]]:
    """Which parameters, by their numbers, each part takes; parts that take none are left out.

    Raises:
        SettingsError: a parameter is taken by none, or the first part takes none: its rate is the
            one that is swept, and would decide nothing.
    """
    taken: list[list[int]] = [[] for _ in parts]
    for number, own in enumerate(traits):
        takers = [place for place, part in enumerate(parts) if _takes(part, own)]
        if not takers:
            raise SettingsError(
                f"optimizer={settings.optimizer.name}: no part takes {own.name} of "
                f"model={settings.model.name}; type optimizer.{parts[-1].name}._takes_=rest"
            )
        taken[takers[0]].append(number)
    if not taken[0]:
        first = parts[0]
        raise SettingsError(
            f"optimizer={settings.optimizer.name}: model={settings.model.name} has nothing for "
            f"{first.option.target}, which takes {' '.join(first.takes)}; type another model, or "
            f"{first.group}._takes_=weights"
        )
    return [(part, numbers) for part, numbers in zip(parts, taken, strict=True) if numbers]


def _takes(part: Part, own: Traits) -> bool:
    return all(
        word in own.words if word in WORDS else fnmatchcase(own.name, word) for word in part.takes
    )


def as_matrix(parameter: nn.Parameter) -> nn.Parameter:
    """A view of a parameter `[N, ...]` as a matrix, whose gradient is a view likewise."""
    if parameter.ndim <= 2:
        return parameter
    if parameter.grad is None:
        parameter.grad = parameter.data.new_zeros(parameter.shape)
    own = nn.Parameter(parameter.data.view(len(parameter), -1))
    own.grad = parameter.grad.view(len(parameter), -1)
    return own


class Routed(Optimizer):
    """Several optimizers as one: each has parameters of its own, and the first one leads.

    A schedule moves the first one's learning rate, and those of the others by the same ratio.
    """

    def __init__(self, *parts: Optimizer) -> None:
        # Not torch's own: the parts hold the groups and the state.
        self.parts = parts
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]  # of the parts
        """The groups of all parts, the first one's first."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types the two cases apart
        """Each part takes its step; returns the closure's loss, if any."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def train(self) -> None:
        """Readies those of the parts that ask for it to train."""
        for part in self.parts:
            set_mode(part, training=True)

    def eval(self) -> None:
        """Readies those of the parts that ask for it to be evaluated."""
        for part in self.parts:
            set_mode(part, training=False)

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts the parts into states of theirs.

        Raises:
            ValueError, KeyError: they are of other parts.
        """
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def set_mode(optimizer: Optimizer, *, training: bool) -> None:
    """Calls an optimizer's `train()` or `eval()`, where it has both.

    Schedule-Free and its like train other weights than those that are evaluated and kept.
    """
    if hasattr(optimizer, "train") and hasattr(optimizer, "eval"):
        (optimizer.train if training else optimizer.eval)()
