"""The end of a run or sweep whose store was away: what is unsent is sent, or its place is told."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from optsweep.errors import TrackingError
from optsweep.jobs import Job
from optsweep.outbox import Outbox, outboxes, ticket_of
from optsweep.results import RunRecord
from optsweep.tracking import Store


@contextmanager
def telling_of_unsent(
    folder: Path, jobs: Sequence[Job], store: Store, console: Console
) -> Iterator[None]:
    """At the end, sends what the store did not take, or says how to send it later."""
    try:
        yield
    finally:
        elsewhere = [job.folder for job in jobs if Outbox(job.folder).waiting]
        unsent = list(dict.fromkeys([*outboxes(folder), *elsewhere]))
        if unsent and store.line.up:
            with suppress(TrackingError):
                store.deliver(unsent)
        unsent = [folder for folder in unsent if Outbox(folder).waiting]
        if unsent:
            where = os.path.commonpath(unsent)
            console.print(
                f"[bold]MLflow did not take everything[/]; what is missing is kept, and sent by "
                f"python experiments/sync.py folder={shlex.quote(where)}",
                highlight=False,
                soft_wrap=True,
            )


def learn_ids(records: Sequence[RunRecord], store: Store) -> None:
    """Gives records the ids of runs that MLflow could only create after they had started."""
    pending = [record for record in records if ticket_of(record.run_id)]
    if pending and store.line.up:
        with suppress(TrackingError):
            for record in pending:
                record.run_id = store.id_of(record.run_id)
