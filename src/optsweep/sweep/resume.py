"""What a sweep reuses and resumes of earlier ones.

`earlier_runs` finds them in the store. `reuse_finished` is given jobs and returns them with a
record for each: finished runs are reused, unfinished jobs get the MLflow run and folder to resume.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optsweep.records.correct_samples import CORRECT, read_correct
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.runs.lease import Launches
from optsweep.runs.stack_member import new_record
from optsweep.system import folders
from optsweep.tracking.reading import finished_records
from optsweep.tracking.store import Run, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """The newest run of each fingerprint: those that are finished, and those that are not."""

    finished: Mapping[str, Run]
    unfinished: Mapping[str, Run]


def earlier_sweeps(store: Store, identity: str) -> list[Run]:
    """The sweeps with that identity, newest first."""
    return store.find(kind="sweep", plan=identity)


def folder_of(run: Run) -> Path | None:
    """The folder of a run or a sweep; None where it is gone, or was not made here for it."""
    tags = run.data.tags
    folder = Path(tags.get("optsweep.folder", ""))
    kind = tags.get("optsweep.kind", "")
    identity = tags.get("optsweep.plan" if kind == "sweep" else "optsweep.fingerprint", "")
    if folder.is_absolute() and folders.is_marked(folder, kind, identity):
        return folder
    log.info("%s of run %s is not here", folder, run.info.run_id)
    return None


def refuse_others(earlier: Sequence[Run], kind: str, identity: str, folder: Path, key: str) -> None:
    """Makes sure that what is resumed has a folder of its own: its earlier one, or a new one.

    Raises:
        FolderError: there is no earlier one, and the folder holds something else.
    """
    if not any(map(folder_of, earlier)) and not folders.is_marked(folder, kind, identity):
        folders.refuse_used(folder, key)


def earlier_runs(store: Store, parent_id: str | None) -> Earlier:
    """The runs of earlier sweeps, and of this one's earlier start, `parent_id`.

    A run that another process has under way is neither finished nor unfinished, nor is one that
    another search pruned.
    """
    finished: dict[str, Run] = {}
    unfinished: dict[str, Run] = {}
    for run in reversed(store.find(kind="run")):  # the newest comes last and counts
        elsewhere = run.data.tags.get("mlflow.parentRunId") != parent_id
        if run.info.status == "RUNNING" or ("optsweep.pruned" in run.data.tags and elsewhere):
            continue
        kind = finished if run.info.status == "FINISHED" else unfinished
        kind[run.data.tags["optsweep.fingerprint"]] = run
    return Earlier(finished, unfinished)


def reuse_finished(
    jobs: Sequence[Job], store: Store | None, earlier: Earlier, launch: str = ""
) -> tuple[list[Job], list[RunRecord], list[int]]:
    """The jobs, a record for each, and the places of those that are still to be run.

    Jobs that an earlier sweep finished have their record already. Those that it began have the
    MLflow run and the folder to resume in, a new folder where the old one is gone. A run that
    another launch than this one, `launch`, has under way is left to it. Without a store there is
    nothing to reuse.
    """
    jobs, todo = list(jobs), []
    if store is None:
        return jobs, [new_record(job) for job in jobs], list(range(len(jobs)))
    reused: dict[int, Run] = {}
    launches = Launches(store, launch)
    for place, job in enumerate(jobs):
        if job.fingerprint in earlier.finished:
            reused[place] = earlier.finished[job.fingerprint]
            continue
        todo.append(place)
        run = earlier.unfinished.get(job.fingerprint)
        if run and not launches.living(run):
            folder = folder_of(run) or job.folder
            jobs[place] = replace(job, run_id=run.info.run_id, folder=folder)
    records = [new_record(job) for job in jobs]
    for place, record in zip(reused, finished_records(store, list(reused.values())), strict=True):
        own = records[place]
        records[place] = replace(record, name=own.name, params=own.params, swept=own.swept)
        if records[place].correct is None and (kept := folder_of(reused[place])):
            read_correct(records[place], kept / CORRECT)
    return jobs, records, todo
