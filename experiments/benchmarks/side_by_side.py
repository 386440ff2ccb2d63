"""Two runs at once on two cores, beside one alone: what they cost each other."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from benchmarks.cnn import CNN
from benchmarks.contestants import IN_MEMORY, OPTSWEEP, Contestant, Race
from benchmarks.pictures import instead_of
from benchmarks.shared import Options, Result, Row

COUNTS = 12_800, 1_000
# Who trains on how many cores each, with which settings of the C library.
WAYS: dict[str, tuple[str, int, Mapping[str, str]]] = {
    "optsweep, a core each": (OPTSWEEP, 1, {}),
    "by hand, a core each": (IN_MEMORY, 1, {}),
    "by hand, freed memory kept": (
        *(IN_MEMORY, 1),
        {"MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_MMAP_THRESHOLD_": str(2**25)},
    ),
    "optsweep, two threads on both cores": (OPTSWEEP, 2, {}),
}


def side_by_side(options: Options) -> Result:
    """An epoch of the CNN of preset=cifar_cnn alone, beside two at once on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return ("This process may use one core alone; two are needed.",)
    count, test = options.samples or COUNTS[0], options.samples or COUNTS[1]
    overrides = [*CNN, "batch_size=64", *instead_of("cifar10", (count, test))]
    rows: list[Row] = [("", "alone", "two at once", "ratio")]
    for name, (kind, threads, settings) in WAYS.items():
        races = [Race(overrides, threads, core=None if threads > 1 else core) for core in cores]
        with _two(kind, races, settings) as (first, second):
            taken = [_times(first, second) for _ in range(options.rounds)]
        alone, both = (median(each) for each in zip(*taken, strict=True))
        ratio = median(both / alone for alone, both in taken)
        rows.append((name, f"{alone:.2f} s", f"{both:.2f} s", f"{ratio:.2f}"))
    return (
        f"{count:,} made-up pictures, batch 64, medians of {options.rounds}, the slower of two",
        rows,
        "Left out: what else a machine does meanwhile; the start of a process and its imports.",
    )


def _times(first: Contestant, second: Contestant) -> tuple[float, float]:
    """Seconds of an epoch alone, and of the slower one of two at once."""
    alone = first.start().result().training
    both = [each.start() for each in (first, second)]
    return alone, max(each.result().training for each in both)


@contextmanager
def _two(
    kind: str, races: Sequence[Race], settings: Mapping[str, str]
) -> Iterator[list[Contestant]]:
    """Two contestants whose processes have these settings in their environment."""
    before = dict(os.environ)
    os.environ.update(settings)
    with ExitStack() as processes:
        try:
            both = [Contestant(kind, race) for race in races]
        finally:
            os.environ.clear()
            os.environ.update(before)
        for each in both:
            processes.callback(each.close)
        yield both
