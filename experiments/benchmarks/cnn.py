"""A small convolutional network beside the same network trained by hand."""

from statistics import median

from benchmarks.contestants import IN_MEMORY, LOADED, OPTSWEEP, Race, Turn, ratio, rounds_of
from benchmarks.pictures import instead_of
from benchmarks.shared import Options, Result, Row

TEST = 16_000
CHOICES = {64: 12_800, 1: 2_000}  # by batch size: training samples
CNN = ("preset=cifar_cnn", "dataset.train_on=train", "lr=1e-3")


def cnn(options: Options) -> Result:
    """The CNN of preset=cifar_cnn on one thread at batch 64 and 1, beside two loops by hand."""
    turns: dict[int, dict[str, list[Turn]]] = {}
    for batch, count in CHOICES.items():
        counts = options.samples or count, options.samples or TEST
        race = Race([*CNN, f"batch_size={batch}", *instead_of("cifar10", counts)], threads=1)
        turns[batch] = rounds_of(race, options.rounds)
    large, small = turns.values()
    evaluated = turns[max(CHOICES)]

    def row(name: str) -> Row:
        seconds = (
            median(turn.training for turn in large[name]),
            median(turn.training for turn in small[name]),
            median(turn.evaluation for turn in evaluated[name]),
        )
        return (name, *(f"{value:.2f} s" for value in seconds))

    def beside(name: str) -> Row:
        own = (
            ratio(large[OPTSWEEP], large[name]),
            ratio(small[OPTSWEEP], small[name]),
            ratio(evaluated[OPTSWEEP], evaluated[name], "evaluation"),
        )
        return (f"optsweep / {name}", *(f"{value:.2f}" for value in own))

    first, second = (
        f"batch {batch}, {options.samples or count:,} samples" for batch, count in CHOICES.items()
    )
    evaluation = f"evaluation, {options.samples or TEST:,} samples"
    return (
        f"preset=cifar_cnn, made-up pictures of 32x32, one thread, medians of {options.rounds}",
        [
            ("", first, second, evaluation),
            *(row(name) for name in (LOADED, IN_MEMORY, OPTSWEEP)),
            beside(LOADED),
            beside(IN_MEMORY),
        ],
        "by hand: DataLoader and ToTensor, plain SGD with momentum; from memory: slices of float "
        "tensors, scaled beforehand.\nBy hand the test samples come in batches of the training's "
        "size; evaluated is after batch 64.\nLeft out: shuffling, normalization, checkpoints and "
        "tracking, several workers of a DataLoader, bfloat16, a GPU.",
    )
