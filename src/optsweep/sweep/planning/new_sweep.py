"""The sweep of checked jobs, as their settings ask for it."""

from collections.abc import Sequence
from pathlib import Path

from optsweep.config.launchers import Launch
from optsweep.config.settings import Settings
from optsweep.runs.job import Job
from optsweep.sweep.stages.confirmation import plan
from optsweep.sweep.sweep import Sweep


def new_sweep(
    asked: Settings,
    jobs: Sequence[Job],
    folder: Path,
    launch: Launch,
    overrides: Sequence[str],
    config: str,
) -> Sweep:
    """The sweep of the jobs; `asked` is what is asked of it as a whole, `config` its YAML."""
    seeds, looks = plan(asked.confirm, asked.max_seeds, {job.settings.seed for job in jobs})
    return Sweep(
        overrides=overrides,
        jobs=jobs,
        folder=folder,
        launch=launch,
        resume=asked.resume,
        figures=asked.figures,
        target=asked.target,
        extend=asked.extend,
        confirm_seeds=seeds,
        looks=looks,
        margin=asked.margin,
        compare=asked.compare,
        config=config,
        open=asked.open,
    )
