"""Models, datasets, losses, optimizers and schedules of users that are wrong: a line for each.

Each is named by its `_target_` in this file, and tried as a run tries it before it trains.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from optsweep.config.settings import Option, Settings
from optsweep.data import Source, Split, make_source
from optsweep.errors import OptsweepError
from optsweep.runs.preflight import checked
from support.config import composed

HERE = Path(__file__).name


def line(tmp_path: Path, group: str, target: str, arguments: dict[str, Any], **more: Any) -> str:
    """What is said of a run with this `_target_`."""
    settings: Settings = replace(composed("model=softmax"), data_dir=tmp_path, **more)
    option: dict[str, Any] = {group: Option("mine", target, arguments)}
    with pytest.raises(OptsweepError) as refused:
        checked(replace(settings, **option))
    said = str(refused.value)
    assert "\n" not in said and said.startswith((f"{group}=mine", f"{group}.")), said
    return said


def own(name: str) -> str:
    return f"test_strangers.{name}"


# Models


class Base(nn.Module):
    """Softmax regression; those below change one thing about it."""

    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Any:
        return self.linear(images.flatten(1))


class NoArguments(Base):
    def __init__(self) -> None:
        super().__init__((1, 8, 8), 10)


class OnlyClasses(Base):
    def __init__(self, classes: int) -> None:
        super().__init__((1, 8, 8), classes)


class NeedsWidth(Base):
    def __init__(self, input_shape: Any, classes: int, width: int) -> None:
        super().__init__(input_shape, classes)


class Confused(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.depth = input_shape["depth"]


class Bare(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        raise Exception


class Leaving(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        sys.exit("no licence")


class NoSuper(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        self.linear = nn.Linear(64, classes)


class NoForward(nn.Module):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)


class TwoInputs(Base):
    def forward(self, images: Tensor, mask: Tensor) -> Any:  # type: ignore[override]  # that is what is tried
        return super().forward(images * mask)


class Pair(Base):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images), images


class Named(Base):
    def forward(self, images: Tensor) -> Any:
        return {"logits": super().forward(images), "loss": None}


class Chosen(Base):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images).argmax(dim=1)


class Whole(Base):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images).long()


class TooFew(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes - 1)


class ForLarger(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.linear = nn.Linear(784, classes)


class Detached(Base):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images).detach()


class ByNumpy(Base):
    def forward(self, images: Tensor) -> Any:
        return torch.from_numpy(super().forward(images).detach().numpy() * 2)


class NotANumber(Base):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images) / (images.flatten(1).sum(1, keepdim=True) * 0)


class NoParameters(nn.Module):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Any:
        return images.flatten(1)[:, :10]


class Frozen(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.requires_grad_(False)


class FailsInTraining(Base):
    def forward(self, images: Tensor) -> Any:
        if self.training:
            raise KeyError("teacher")
        return super().forward(images)


class Normalised(nn.Sequential):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, classes))


class Unused(Base):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.head = nn.Linear(3, 3)


def number(input_shape: Any, classes: int) -> int:
    return classes


CONTRACT = "needed is a torch.nn.Module built as Model(input_shape, classes, **keywords)"


@pytest.mark.parametrize(
    ("target", "arguments", "words"),
    [
        (own("NoArguments"), {}, ["takes ()", "too many positional", CONTRACT]),
        (own("OnlyClasses"), {}, ["takes (classes)", CONTRACT]),
        (own("NeedsWidth"), {}, ["takes (input_shape, classes, width)", "'width'", CONTRACT]),
        (own("Base"), {"classes": 10}, ["multiple values for argument 'classes'", CONTRACT]),
        (own("Base"), {"width": 3}, ["model.width", "takes no such argument"]),
        (own("number"), {}, ["not a int", CONTRACT]),
        (own("Confused"), {}, ["TypeError: tuple indices", HERE, CONTRACT]),
        (own("Bare"), {}, ["Exception, in", HERE, CONTRACT]),
        (own("Leaving"), {}, ["SystemExit: no licence", HERE]),
        (own("NoSuper"), {}, ["before Module.__init__()", HERE]),
        (own("NoForward"), {}, ['missing the required "forward" function']),
        (own("TwoInputs"), {}, ["forward takes ('images', 'mask')", "forward(images)"]),
        (own("Pair"), {}, ["gives a tuple of 2", "one tensor [2, 10]"]),
        (own("Named"), {}, ["gives a dict of logits, loss", "one tensor [2, 10]"]),
        (own("Chosen"), {}, ["gives outputs [2] of torch.int64", "[2, 10]"]),
        (own("Whole"), {}, ["gives outputs [2, 10] of torch.int64"]),
        (own("TooFew"), {}, ["gives outputs [2, 9]", "[2, 10]"]),
        (own("ForLarger"), {}, ["cannot take digits's images of 1x8x8", HERE, "dataset.resize"]),
        (own("Detached"), {}, ["no gradient reaches the parameters", "without detach()"]),
        (own("ByNumpy"), {}, ["no gradient reaches the parameters", "numpy()"]),
        (own("NotANumber"), {}, ["not finite", "initial weights"]),
        (own("NoParameters"), {}, ["no parameters"]),
        (own("Frozen"), {}, ["no parameters to train", "requires_grad=False"]),
        (own("FailsInTraining"), {}, ["KeyError: 'teacher'", HERE, "in training mode"]),
        ("nowhere_to_be_found.Net", {}, ["make nowhere_to_be_found.py in", "looked in"]),
        (own("Bases"), {}, ["cannot be imported", "did you mean test_strangers.Base?"]),
        (own("HERE"), {}, ["cannot be called", CONTRACT]),
        ("Net", {}, ["cannot be imported"]),
    ],
)
def test_a_model_that_is_wrong_gets_a_line(
    tmp_path: Path, target: str, arguments: dict[str, Any], words: list[str]
) -> None:
    said = line(tmp_path, "model", target, arguments)
    assert [word for word in words if word not in said] == [], said


def test_a_model_that_normalises_over_batches_of_one_is_refused(tmp_path: Path) -> None:
    assert "type batch_size=2" in line(tmp_path, "model", own("Normalised"), {}, batch_size=1)


def test_a_parameter_that_no_gradient_reaches_is_named_and_the_run_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    option = Option("mine", own("Unused"), {})
    checked(replace(composed("model=softmax"), data_dir=tmp_path, model=option))
    assert "no gradient reaches head.weight, head.bias; they stay as they are" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("torn", "def Net(:", ["SyntaxError", "torn.py:1"]),
        ("lacking", "import a_library_that_is_missing", ["a_library_that_is_missing", "lacking"]),
        ("ending", "import sys\nsys.exit(3)", ["SystemExit: 3", "ending.py:2"]),
        ("code", "class Net: pass", ["code is found in", "before", "another name"]),
    ],
)
def test_a_module_that_cannot_be_imported_gets_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, words: list[str]
) -> None:
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    said = line(tmp_path, "model", f"{name}.Net", {})
    assert [word for word in words if word not in said] == [], said
    assert str(tmp_path) not in sys.path


# Datasets


def pictures(count: int = 20, size: int = 8) -> Tensor:
    return torch.arange(count * size**2).remainder(256).byte().view(count, 1, size, size)


def split(count: int = 20, size: int = 8) -> Split:
    return Split(pictures(count, size), torch.arange(count) % 2)


def source_of(**parts: Any) -> Source:
    given: dict[str, Any] = {"train": split(), "test": split(), "classes": ("a", "b")}
    return Source(**{**given, "peak": 255, "digest": "0", **parts})


def no_folder() -> Source:
    return source_of()


def lacking(*, data_dir: Path, count: int) -> Source:
    return source_of()


def tuples(*, data_dir: Path) -> Any:
    return (pictures(), torch.zeros(20)), (pictures(), torch.zeros(20))


def nothing(*, data_dir: Path) -> None:
    return None


def keyed(*, data_dir: Path) -> Any:
    parts: dict[str, Any] = {}
    return parts["images"]


def unread(*, data_dir: Path) -> Any:
    return (data_dir / "not_there.npy").open()


def floats(*, data_dir: Path) -> Source:
    return source_of(train=Split(pictures().float(), torch.arange(20) % 2))


def from_one(*, data_dir: Path) -> Source:
    return source_of(test=Split(pictures(), torch.arange(20) % 2 + 1))


def short(*, data_dir: Path) -> Source:
    return source_of(train=Split(pictures(), torch.arange(19) % 2))


def unlike(*, data_dir: Path) -> Source:
    return source_of(test=split(20, 7))


def made_wrong(*, data_dir: Path) -> Source:
    return make_source(Split(pictures(), torch.arange(20)), split(), ["a", "b"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_folder", ["takes ()", "data_dir", "a function (*, data_dir, **keywords)"]),
        ("lacking", ["'count'", "a function (*, data_dir, **keywords)"]),
        ("tuples", ["must return an optsweep.data.Source", "not a tuple", "make_source"]),
        ("nothing", ["not a NoneType", "return make_source"]),
        ("keyed", ["KeyError: 'images'", HERE]),
        ("unread", ["FileNotFoundError", HERE]),
        ("floats", ["torch.float32 [20, 1, 8, 8]", "needed are uint8 [N, C, H, W]"]),
        ("from_one", ["labels reach from 1 to 2, for 2 classes"]),
        ("short", ["labels are torch.int64 [19]", "int64 [20]"]),
        ("unlike", ["[1, 8, 8] for training and [1, 7, 7] for test"]),
        ("made_wrong", ["labels reach from 0 to 19, for 2 classes", HERE]),
    ],
)
def test_a_dataset_that_is_wrong_gets_a_line(tmp_path: Path, name: str, words: list[str]) -> None:
    said = line(tmp_path, "dataset", own(name), {})
    assert [word for word in words if word not in said] == [], said


# Losses


def alike(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.zeros(len(labels), requires_grad=True)


def counted(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(dim=-1) != labels).float()


def mean(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.mean()


def plain(outputs: Tensor, labels: Tensor) -> Any:
    return 0.5


def infinite(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs[..., 0] / (labels * 0)


def raising(outputs: Tensor, labels: Tensor) -> Tensor:
    raise Exception("no such loss")


def swapped(prediction: Tensor) -> Tensor:
    return prediction


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (own("alike"), ["gives no gradient", "does not depend on the outputs"]),
        (own("counted"), ["gives no gradient", "torch's own operations"]),
        (own("mean"), ["gives [] for 2 samples", "needed is [2]"]),
        (own("plain"), ["gives a float for 2 samples"]),
        (own("infinite"), ["gives [inf, inf]", "finite losses"]),
        (own("raising"), ["Exception: no such loss", HERE, "loss(outputs, labels, **keywords)"]),
        (own("swapped"), ["takes (prediction)", "loss(outputs, labels, **keywords)"]),
        ("torch.nn.CrossEntropyLoss", ["is a class", "torch.nn.functional.cross_entropy"]),
    ],
)
def test_a_loss_that_is_wrong_gets_a_line(tmp_path: Path, target: str, words: list[str]) -> None:
    said = line(tmp_path, "loss", target, {})
    assert [word for word in words if word not in said] == [], said


# Optimizers and schedules


class Descent(torch.optim.Optimizer):
    def __init__(self, params: Iterable[Tensor], lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
        raise Exception


class Refusing(Descent):
    def __init__(self, params: Iterable[Tensor], lr: float = 0.1) -> None:
        raise Exception("not today")


class WithoutWeights(Descent):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__([], lr)


class OfItsOwn:
    def __init__(self, params: Iterable[Tensor], lr: float = 0.1) -> None:
        self.params = params


class ByLoss(Descent):
    def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]  # torch lets it be left out
        closure()


OPTIMIZER = "needed is a torch.optim.Optimizer built as Optimizer(params, **keywords)"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (own("Descent"), ["cannot take a step: Exception, in", HERE]),
        (own("Refusing"), ["Exception: not today, in", HERE, OPTIMIZER]),
        (own("WithoutWeights"), ["takes (lr=0.1)", OPTIMIZER]),
        (own("OfItsOwn"), ["not a OfItsOwn", OPTIMIZER]),
        (own("ByLoss"), ["evaluates the loss by itself"]),
        ("pytorch_optimizer.Muon", ["its constructor's arguments do not fit", OPTIMIZER]),
    ],
)
def test_an_optimizer_that_is_wrong_gets_a_line(
    tmp_path: Path, target: str, words: list[str]
) -> None:
    said = line(tmp_path, "optimizer", target, {"lr": 0.1})
    assert [word for word in words if word not in said] == [], said


class Falling(LRScheduler):
    def get_lr(self) -> list[float | Tensor]:
        return [1 / 0 if self.last_epoch else 0.1]


class Lost(LRScheduler):
    def get_lr(self) -> list[float | Tensor]:
        return [float("nan") if self.last_epoch else 0.1]


class Bound(LRScheduler):
    def __init__(self, optimizer: Any, total: int) -> None:
        super().__init__(optimizer)


def no_schedule(optimizer: Any) -> str:
    return "constant"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (own("Falling"), ["cannot be stepped", "ZeroDivisionError", HERE]),
        (own("Lost"), ["gives the learning rate nan after epoch 1"]),
        (own("Bound"), ["'total'", "built as Schedule(optimizer, **keywords)"]),
        (own("no_schedule"), ["must be one of", "built as Schedule(optimizer, **keywords)"]),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", ["without a metric"]),
    ],
)
def test_a_schedule_that_is_wrong_gets_a_line(
    tmp_path: Path, target: str, words: list[str]
) -> None:
    settings = "schedule" if "Falling" not in target else "optimizer=sgd schedule"
    with pytest.raises(OptsweepError) as refused:
        checked(
            replace(
                composed("model=softmax"), data_dir=tmp_path, schedule=Option("mine", target, {})
            )
        )
    said = str(refused.value)
    assert said.startswith(f"{settings}=mine") and "\n" not in said
    assert [word for word in words if word not in said] == [], said
