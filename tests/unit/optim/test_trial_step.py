"""An optimizer that nobody here has seen works as a run needs it, or is refused in one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.models.losses import cross_entropy
from optsweep.optim.optimizers import build_optimizer
from optsweep.optim.schedules import build_schedule
from optsweep.optim.trial_step import check_steps, why_not_stackable
from optsweep.training.checkpoint import restore, save
from optsweep.training.stack import Stack
from support.config import composed
from support.training import make_dataset, run

pytestmark = pytest.mark.usefixtures("one_thread")

# Classes that a YAML file of `_target_` and `lr` makes an option of.
WORK = [
    *(f"torch.optim.{name}" for name in ("ASGD", "Rprop", "Adafactor", "NAdam", "RAdam")),
    *("schedulefree.RAdamScheduleFree", "schedulefree.SGDScheduleFreeReference"),
    *(
        f"pytorch_optimizer.{name}"
        for name in (
            *("ADOPT", "APOLLO", "AccSGD", "AdEMAMix", "AdaBelief", "AdaBound", "AdaFactor"),
            *("AdaMod", "AdaPNM", "Adan", "AggMo", "Amos", "CAME", "DAdaptAdam", "DiffGrad"),
            *("FAdam", "GrokFastAdamW", "LARS", "Lamb", "LaProp", "MADGRAD", "MARS", "NovoGrad"),
            *("PID", "Prodigy", "ScheduleFreeAdamW", "Shampoo", "StableAdamW", "Tiger"),
            *("Yogi", "SPlus"),
        )
    ),
]
RANDOM = ["pytorch_optimizer.Gravity", "pytorch_optimizer.DASH"]
REFUSED = {
    "torch.optim.LBFGS": "evaluates the loss by itself",
    "torch.optim.SparseAdam": "cannot take a step: SparseAdam does not support dense gradients",
    "torch.optim.Muon": "Muon only supports 2D parameters",
    "pytorch_optimizer.AliG": "cannot take a step: AliG requires closure",
    "pytorch_optimizer.AdaHessian": "cannot take a step: ",
    "pytorch_optimizer.SAM": "base_optimizer",
    "pytorch_optimizer.AdaShift": "cannot resume from its own state: it holds more than tensors",
    "pytorch_optimizer.Lookahead": "optimizer=own: ",
    "pytorch_optimizer.LOMO": "optimizer=own: ",
}


def chosen(target: str, lr: float = 1e-3) -> Settings:
    return replace(composed(), optimizer=Option("own", target, {"lr": lr}), epochs=3)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)
    return nn.Sequential(nn.Flatten(), *layers)


def new_stack(settings: Settings) -> Stack:
    model = network()
    moves = build_optimizer(settings, model)
    return Stack(model, [moves], [build_schedule(settings, moves, 5)], cross_entropy, [0])


def weights_of(stack: Stack) -> list[Tensor]:
    return [own.detach().clone() for own in stack.model.parameters()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [*WORK, *RANDOM])
def test_a_class_never_seen_trains_and_resumes_bit_for_bit(target: str, tmp_path: Path) -> None:
    settings = chosen(target)
    check_steps(settings, network())
    assert bool(why_not_stackable(settings)) == (target in RANDOM)
    data = make_dataset(samples=32)
    whole = new_stack(settings)
    run(whole, data, epochs=range(1, 4))
    first = new_stack(settings)
    run(first, data, epochs=range(1, 3))
    assert not all(map(torch.equal, weights_of(first), new_stack(settings).model.parameters()))
    save(tmp_path / "checkpoint.bin", first, 2, ["abc"])
    again = new_stack(settings)
    assert restore(tmp_path / "checkpoint.bin", again, ["abc"]) == 2
    run(again, data, epochs=range(3, 4))
    assert all(map(torch.equal, weights_of(again), weights_of(whole)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("target", "message"), REFUSED.items(), ids=REFUSED)
def test_a_class_that_cannot_work_is_refused_in_one_line(target: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_steps(chosen(target), network())
        why_not_stackable(chosen(target))
    assert message in str(caught.value) and "\n" not in str(caught.value)


class Forgetful(SGD):
    """Counts its steps where no state_dict looks, and slows down."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.count = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
        self.count += 1
        for group in self.param_groups:
            for own in group["params"]:
                own.data.add_(own.grad, alpha=-group["lr"] / self.count)


class Replacing(SGD):
    """Puts new weights in the place of the old ones."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
        for group in self.param_groups:
            for own in group["params"]:
                own.data = own.data - group["lr"] * own.grad


class Broken(SGD):
    """Raises what nobody expects."""

    def __init__(self, params: Any, lr: float) -> None:
        if lr == 1:
            raise Exception("not at this rate\nnor at others")
        super().__init__(params, lr=lr)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
        raise Exception("not in train mode\nplease insert .train() calls")


def test_a_counter_outside_of_the_state_is_noticed() -> None:
    with pytest.raises(SettingsError, match="keeps what a step needs outside of its state_dict"):
        why_not_stackable(chosen("test_trial_step.Forgetful", lr=0.1))


def test_weights_that_are_replaced_go_into_no_stack() -> None:
    assert "new tensors" in why_not_stackable(chosen("test_trial_step.Replacing", lr=0.1))


@pytest.mark.parametrize(("lr", "message"), [(1, "not at this rate"), (0.1, "not in train mode")])
def test_a_bare_exception_is_one_line(lr: float, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_steps(chosen("test_trial_step.Broken", lr=lr), network())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_package_that_is_missing_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(SettingsError, match=r"; type pip install 'optsweep\[optimizers\]'"):
        build_optimizer(composed("optimizer=schedule_free_sgd"), network())


class Hooked(SGD):
    """Says in which mode it is asked to step, and in which its weights are looked at."""

    calls: list[str]

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.calls = []

    def train(self) -> None:
        self.calls.append("train")

    def eval(self) -> None:
        self.calls.append("eval")

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
        self.calls.append("step")
        super().step()


def test_an_optimizer_is_readied_around_training_and_evaluation() -> None:
    stack = new_stack(chosen("test_trial_step.Hooked", lr=0.1))
    run(stack, make_dataset(samples=8), epochs=range(1, 3))
    (moves,) = stack.optimizers
    assert isinstance(moves, Hooked)
    once = [call for n, call in enumerate(moves.calls) if call != moves.calls[n - 1] or n == 0]
    assert once == ["train", "step", "eval"] * 2


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_the_weights_of_a_schedule_free_run_are_those_that_were_evaluated(name: str) -> None:
    stack = new_stack(replace(composed(f"optimizer={name}", "lr=0.1"), epochs=2))
    run(stack, make_dataset(), epochs=range(1, 3))
    kept = weights_of(stack)
    stack.eval()
    assert all(map(torch.equal, kept, weights_of(stack)))
    stack.train()
    assert not all(map(torch.equal, kept, weights_of(stack)))


def test_weights_that_were_kept_are_put_back_as_they_were_evaluated() -> None:
    stack = new_stack(replace(composed("optimizer=schedule_free_sgd", "lr=0.1"), epochs=3))
    run(stack, make_dataset(), epochs=range(1, 2))
    stack.keep(0, 1)
    kept = weights_of(stack)
    run(stack, make_dataset(), epochs=range(2, 3))
    stack.train()
    stack.put_back()
    stack.eval()
    assert all(map(torch.equal, kept, weights_of(stack)))
