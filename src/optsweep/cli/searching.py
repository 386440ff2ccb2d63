"""A search among Hydra's overrides: what is searched, and a job for each trial.

`read_space` turns overrides into dimensions; a `Searching` is asked for a job whenever a worker
has nothing to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep

from optsweep.cli.grids import AUTO, range_of
from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord
from optsweep.search.search import Grid
from optsweep.search.space import Choice, Dimension, interval
from optsweep.system.redaction import redact, redacted

if TYPE_CHECKING:
    from optsweep.cli.composing import Composed
    from optsweep.runs.job import Job
    from optsweep.search.search import Search
    from optsweep.search.study import Study
    from optsweep.sweep.sweep import Sweep as SweepPlan
    from optsweep.tracking.store import Store

Compose = Callable[[Sequence[Sequence[str]]], "list[Job]"]


def read_space(overrides: Sequence[Override]) -> tuple[list[str], list[Dimension]]:
    """The overrides that all trials share, as typed, and what is searched.

    Raises:
        SettingsError: an interval cannot be searched, or a seed is.
    """
    fixed: list[str] = []
    space: list[Dimension] = []
    # Of two that name one key the last one counts.
    for override in {override.get_key_element(): override for override in overrides}.values():
        if override.is_sweep_override():
            space.append(_dimension(override))
        else:
            fixed.append(str(override.input_line))
    return fixed, space


def read_grids(
    overrides: Sequence[Override], compose: Callable[[list[str]], "Composed"]
) -> list[Grid]:
    """The grid of these overrides: with `lr=auto` one for each optimizer, with its own range.

    Raises:
        SettingsError: as `read_space`; or an optimizer has no range.
    """
    fixed, space = read_space(overrides)
    auto = f"lr={AUTO}"
    if auto not in fixed:
        return [Grid(fixed, space)]
    others = [each for each in fixed if each != auto]
    drawn = [e for e in space if isinstance(e, Choice) and e.key == "optimizer"]
    rest = [each for each in space if each not in drawn]
    grids = []
    for name in drawn[0].values if drawn else [None]:
        own = others if name is None else [*others, f"optimizer={name}"]
        one = compose([*own, *(f"{each.key}={each.probes[0]}" for each in rest), auto])
        low, high = range_of(one.values, one.choices)
        grids.append(Grid(own, [*rest, interval(auto, "lr", low, high, ["log"])]))
    return grids


def _dimension(override: Override) -> Dimension:
    given, key, value = str(override.input_line), override.get_key_element(), override.value()
    assert isinstance(value, Sweep)
    if key.lstrip("+") == "seed":
        raise SettingsError(
            f"{given}: a search is made at one seed, or it would find the luckiest; type seed=0, "
            "and repeat what it finds with -m seed=0,1,2,3,4"
        )
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        return interval(given, key, value.start, value.end, sorted(value.tags))
    texts = tuple(dict.fromkeys(map(str, override.sweep_string_iterator())))
    if not texts:
        raise SettingsError(f"{given}: it holds no value; type {key}=interval(1e-5,1) or a list")
    if redacted(texts) != texts:
        raise SettingsError(
            f"{redact(given)}: these hold a password or a token, and a search keeps its choices in "
            f"a file; type one value for {key}"
        )
    step = value.step if isinstance(value, RangeSweep) and not value.shuffle else None
    whole = isinstance(step, int) and step > 0 and all(text.lstrip("-").isdigit() for text in texts)
    return Choice(key, texts, int(step) if whole and step and len(texts) > 1 else None)


def begin(
    search: "Search",
    sweep: "SweepPlan",
    store: "Store",
    overrides: list[list[str]],
    compose: Compose,
) -> "tuple[SweepPlan, Searching]":
    """A sweep of the search's first jobs, and what is asked for further ones.

    `sweep` holds the checked jobs at the ends of what is searched. With `resume`, a search that
    was begun before is resumed from its study.
    """
    from optsweep.execution.worker_count import count_workers
    from optsweep.search.study import Study
    from optsweep.sweep.resume import earlier_sweeps, folder_of, refuse_others

    search = replace(search, identity=search.identify([job.fingerprint for job in sweep.jobs]))
    sweep = replace(sweep, search=search, launch=replace(sweep.launch, stack=1))
    earlier = earlier_sweeps(store, sweep.identity)[:1] if sweep.resume else []
    refuse_others(earlier, "sweep", sweep.identity, sweep.folder, "hydra.sweep.dir")
    folder = (folder_of(earlier[0]) if earlier else None) or sweep.folder
    settings = sweep.jobs[0].settings
    workers = max(1, count_workers(sweep.launch, settings, search.n_trials))
    study = Study(search, folder, workers, settings.epochs)
    searching = Searching(study, workers, search, overrides, compose)
    return replace(sweep, jobs=searching.begun(workers)), searching


class Searching:
    """Asked for a job whenever a worker has nothing to do: a trial for each of `workers`.

    `overrides` are those of the jobs so far, to which each trial's are added; `compose` turns
    overrides into checked jobs.
    """

    def __init__(
        self,
        study: "Study",
        workers: int,
        search: "Search",
        overrides: list[list[str]],
        compose: Compose,
    ) -> None:
        self._study = study
        self._workers = workers
        self._search = search
        self._overrides = overrides
        self._compose = compose

    def begun(self, workers: int) -> "list[Job]":
        """The jobs to begin with: the study's trials so far, and at least one for each worker."""
        points = self._study.points
        while len(points) < workers and (point := self._study.next([])) is not None:
            points.append(point)
        return self._jobs(points, 0)

    def __call__(self, records: Sequence[RunRecord], running: int) -> "list[Job]":
        """The next trial's job, given the records of all so far; none where there is none yet."""
        if running >= self._workers:  # a cluster would take more
            return []
        point = self._study.next(records)
        return [] if point is None else self._jobs([point], len(records))

    def _jobs(self, points: Sequence[dict[str, str]], first: int) -> "list[Job]":
        wanted = [self._search.overrides(point) for point in points]
        jobs = self._compose(wanted)
        self._overrides += wanted
        return [
            replace(job, hopeless=self._study.hopeless(place))
            for place, job in enumerate(jobs, start=first)
        ]
