"""The core loop beside the one that the tutorials write by hand."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contestants import (
    IN_MEMORY,
    LOADED,
    OPTSWEEP,
    Ours,
    Race,
    Turn,
    race_data,
    ratio,
    rounds_of,
)
from benchmarks.pictures import instead_of, is_missing
from benchmarks.shared import Options, Result, Row, timed
from optsweep.models.build import build_model
from optsweep.training.device import computing

Product = tuple[Tensor, Tensor]
# Presets that differ in what they compute, with the datasets that they name.
PRESETS = {
    "fashion_mlp": "fashion_mnist",
    "fashion_softmax": "fashion_mnist",
    "fashion_softmax_scratch": "fashion_mnist",
    "cifar_cnn": "cifar10",
    "quickstart": "digits",
}
STEPS = 200  # of one thread, beside the products alone


def loop(options: Options) -> Result:
    """One epoch of preset=fashion_mlp, or of another, beside the loop of the tutorials.

    The share of peak counts the operations of the network's matrix products as work and all of
    an epoch as time: to 100 % is missing whatever else is done, and products slower than the peak.
    """
    if options.preset == "all":
        return _all_presets(options)
    race = _race(options.preset, options)
    turns = rounds_of(race, options.rounds)
    pairs = zip(turns[LOADED], turns[OPTSWEEP], strict=True)
    apart = max(abs(hand.judged / ours.judged - 1) for hand, ours in pairs)
    settings, data = race_data(race)
    network = build_model(settings, data.input_shape, len(data.classes))
    tables = [_comparison(turns)]
    if not any(isinstance(layer, nn.Conv2d) for layer in network.modules()):
        work = operations(network, data.input_shape) * len(data.train.labels)
        tables.append(_shares(network, settings.batch_size, work, turns))
        tables.append(_steps(options))
    sizes = f"{len(data.train.labels):,} training and {len(data.test.labels):,} test samples"
    made_up = ", made-up pictures" if _is_made_up(options.preset, options) else ""
    return (
        f"preset={options.preset}{made_up}, {sizes}, rounds: {options.rounds}, medians",
        *tables,
        f"The trained networks' test losses differ by {apart:.0e} of a loss."
        "\n(By hand it is the mean of the batches' means, as the tutorials have it. All see the "
        "samples in the order of the files.)",
    )


def _all_presets(options: Options) -> Result:
    rows: list[Row] = [("", LOADED, IN_MEMORY, OPTSWEEP, "/ by hand", "/ from memory", "evaluated")]
    for preset in PRESETS:
        turns = rounds_of(_race(preset, options), options.rounds)
        seconds = (median(turn.training for turn in turns[kind]) for kind in turns)
        ours = turns[OPTSWEEP]
        ratios = (
            ratio(ours, turns[LOADED]),
            ratio(ours, turns[IN_MEMORY]),
            ratio(ours, turns[LOADED], "evaluation"),
        )
        shares = (f"{value:.2f}" for value in ratios)
        rows.append((preset, *(f"{value:.2f} s" for value in seconds), *shares))
    return (
        f"an epoch of each preset in the order of its files, medians of {options.rounds}",
        rows,
        "evaluated: optsweep / by hand. Pictures that are not on this disk are made up: "
        + (", ".join(name for name in PRESETS if _is_made_up(name, options)) or "none")
        + ".\nLeft out: fashion_mlp_shuffled, which computes what fashion_mlp does.",
    )


def _is_made_up(preset: str, options: Options) -> bool:
    return is_missing(PRESETS.get(preset, ""), options.data_dir)


def _race(preset: str, options: Options, *overrides: str) -> Race:
    made_up = instead_of(PRESETS[preset]) if _is_made_up(preset, options) else []
    own = [f"preset={preset}", f"data_dir={options.data_dir}", *made_up, *overrides]
    return Race(own, options.threads, options.samples)


def _comparison(turns: Mapping[str, Sequence[Turn]]) -> list[Row]:
    def row(name: str) -> Row:
        training = median(turn.training for turn in turns[name])
        evaluation = median(turn.evaluation for turn in turns[name])
        scores = f"{turns[name][-1].loss:.4f}", f"{turns[name][-1].accuracy:.4f}"
        return name, f"{training:.2f} s", f"{evaluation:.3f} s", *scores

    pairs = list(zip(turns[LOADED], turns[OPTSWEEP], strict=True))
    training = [hand.training / ours.training for hand, ours in pairs]
    evaluation = [hand.evaluation / ours.evaluation for hand, ours in pairs]
    return [
        ("", "training", "evaluation", "test loss", "accuracy"),
        *map(row, (LOADED, IN_MEMORY, OPTSWEEP)),
        ("times as fast", f"{median(training):.1f}", f"{median(evaluation):.1f}", "", ""),
        ("from", f"{min(training):.1f}", f"{min(evaluation):.1f}", "", ""),
        ("to", f"{max(training):.1f}", f"{max(evaluation):.1f}", "", ""),
    ]


def _shares(
    network: nn.Module, batch: int, work: int, turns: Mapping[str, Sequence[Turn]]
) -> list[Row]:
    squares = [torch.rand(size, size) for size in (512, 1024, 2048)]
    square = max(best_rate([(each, each)]) for each in squares)
    alone = best_rate(products(network, batch))

    def row(name: str, rate: float) -> Row:
        return name, f"{rate / 1e9:.0f} GFLOP/s", f"{rate / max(square, alone):.0%}"

    def trained(kind: str) -> float:
        return work / median(turn.training for turn in turns[kind])

    return [
        ("float32 matrix products", "rate", "share of peak"),
        row("square ones", square),
        row("this network's, alone", alone),
        row("this network's, trained by hand", trained(LOADED)),
        row("this network's, trained by optsweep", trained(OPTSWEEP)),
    ]


def _steps(options: Options) -> list[Row]:
    """A step on one thread beside its products alone, in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        taken = process.submit(_step_times, options).result()
    alone = taken.pop("products alone")
    rows: list[Row] = [("a step, one thread", "microseconds", "/ products alone")]
    rows.append(("products alone", f"{1e6 * median(alone):.0f}", "1.00"))
    for name, seconds in taken.items():
        beside = median(own / limit for own, limit in zip(seconds, alone, strict=True))
        rows.append((name, f"{1e6 * median(seconds):.0f}", f"{beside:.2f}"))
    return rows


def _step_times(options: Options) -> dict[str, list[float]]:
    """Seconds of a step by what takes it, in turns, a median of `rounds` later."""
    torch.set_num_threads(1)
    networks: dict[str, Ours] = {}
    for name in ("sgd", "adam"):
        overrides = f"optimizer={name}", f"dataset.limit={STEPS * 64}"
        race = _race(options.preset, options, *(() if options.samples else overrides))
        settings, data = race_data(Race([*race.overrides, overrides[0]], 1, options.samples))
        networks[name] = Ours(settings, data)
    steps = len(networks["sgd"].batches)
    multiply = multiplier(products(networks["sgd"].stack.model, settings.batch_size))
    taken: dict[str, list[float]] = {"products alone": [], **{name: [] for name in networks}}
    with computing(settings):
        for number in range(options.rounds + 1):
            once = {"products alone": timed(lambda: [multiply() for _ in range(steps)])[0]}
            once |= {name: own.turn().training for name, own in networks.items()}
            for name, seconds in once.items() if number else ():  # the first one warms up
                taken[name].append(seconds / steps)
    return taken


def operations(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Floating point operations of a sample's products, forward and backward to the weights."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape)).sum().backward()
    return int(counter.get_total_flops())


def products(model: nn.Module, batch: int) -> list[Product]:
    """The matrix products of a training step, as pairs; images need no gradient."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    pairs: list[Product] = []
    for number, layer in enumerate(layers):
        weight = layer.weight.detach()
        inputs, gradient = torch.rand(batch, layer.in_features), torch.rand(batch, len(weight))
        pairs += [(inputs, weight.t()), (gradient.t(), inputs)]
        if number > 0:
            pairs.append((gradient, weight))
    return pairs


def best_rate(pairs: Sequence[Product], patience: float = 0.3) -> float:
    """Floating point operations a second of these products, the best within `patience` seconds."""
    work = sum(2 * left.shape[0] * left.shape[1] * right.shape[1] for left, right in pairs)
    multiply = multiplier(pairs)
    best, end = float("inf"), time.perf_counter() + patience
    while time.perf_counter() < end:
        best = min(best, timed(multiply)[0])
    return work / best


def multiplier(pairs: Sequence[Product]) -> Callable[[], None]:
    """What multiplies these matrices once."""
    results = [left @ right for left, right in pairs]

    def multiply() -> None:
        for (left, right), result in zip(pairs, results, strict=True):
            torch.mm(left, right, out=result)

    return multiply
