"""What would be trained: `check=true`. Layers, parameters, shapes, FLOP and memory of each model.

The settings have been tried by then: data were read, and a batch went forward and back.
"""

import re
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from optsweep.config.settings import Settings
from optsweep.data.dataset import Dataset, description, load_dataset
from optsweep.models.build import build_model, weigh
from optsweep.records.values import printable
from optsweep.sweep.planning.stack_planner import kept_by


def checked_lines(runs: Iterable[Settings]) -> Iterator[str]:
    """What was checked, in lines: once for each dataset and model of the runs."""
    seen = set()
    for settings in runs:
        key = repr((settings.dataset, settings.model))
        if key not in seen:
            seen.add(key)
            yield from map(printable, _lines(settings))
    yield "check   all of it can be trained; nothing was"


def _lines(settings: Settings) -> Iterator[str]:
    data = load_dataset(settings)
    model = build_model(settings, data.input_shape, len(data.classes))
    yield f"data    {description(data)}"
    yield f"model   {settings.model.name}: {settings.model.target}"
    yield from (f"        {line}" for line in _layers(model, data))
    count = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    some = "" if trained == count else f", {trained:,} of them trained"
    yield f"        {count:,} parameters{some}, {_bytes(weigh(model))}"
    yield f"cost    {_scaled(_flop(model, data))}FLOP a sample forward, thrice that to train"
    step = _bytes(_step(model, data, settings.batch_size))
    yield f"memory  about {step} for a step at batch_size={settings.batch_size}"


def _layers(model: nn.Module, data: Dataset) -> list[str]:
    """torchinfo's table of layers, with what each gives for one image."""
    import torchinfo  # not before it is needed: a start takes long enough

    images = torch.zeros(1, *data.input_shape)
    columns = ("output_size", "num_params")
    table = torchinfo.summary(model, input_data=images, col_names=columns, verbose=0, device="cpu")
    _, header, layers, *_ = re.split(r"^=+\n", str(table), flags=re.M)
    return [line.rstrip() for line in (header + layers).splitlines()]


def _flop(model: nn.Module, data: Dataset) -> int:
    """Floating-point operations of a forward pass, a multiplication and an addition as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *data.input_shape))
    return int(counter.get_total_flops())


def _step(model: nn.Module, data: Dataset, batch_size: int) -> float:
    """Bytes of a training step: weights, gradients, two values of Adam, and a batch's layers."""
    model.train()
    two, four = (kept_by(model, data.input_shape, samples) for samples in (2, 4))
    return 4 * weigh(model) + batch_size * (four - two) / 2


def _scaled(number: float) -> str:
    """A number with the prefix of its thousands: `1.2 M`."""
    for prefix in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} T"


def _bytes(number: float) -> str:
    return f"{_scaled(number)}B"
