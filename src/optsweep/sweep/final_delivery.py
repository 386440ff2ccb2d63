"""The end of a run or sweep whose store was away: outboxes are sent, or the user is shown how.

`sending_unsent` surrounds a run or sweep. `learn_ids` gives records the ids that MLflow gave late.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from optsweep.errors import TrackingError
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.system.project_folder import command
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import REFUSED, Outbox, outboxes, ticket_of
from optsweep.tracking.store import Store


@contextmanager
def sending_unsent(
    folder: Path, jobs: Sequence[Job], store: Store, console: Console
) -> Iterator[None]:
    """At the end, sends what the store did not take, or says how to send it later."""
    try:
        yield
    finally:
        elsewhere = [job.folder for job in jobs if Outbox(job.folder).waiting]
        unsent = list(dict.fromkeys([*outboxes(folder), *elsewhere]))
        if unsent and store.connection.ask():
            with suppress(TrackingError):
                deliver(store, unsent, at_once=True)
        unsent = [folder for folder in unsent if Outbox(folder).waiting]
        beside = [job.folder for job in jobs if Outbox(job.folder).refused.exists()]
        refused = list(dict.fromkeys([*outboxes(folder, REFUSED), *beside]))
        if unsent or refused:
            where = os.path.commonpath([*unsent, *refused])
            files = [f"; MLflow refused what is in {Outbox(one).refused}" for one in refused[:1]]
            files += [f" and {len(refused) - 1} more such files"] * (len(refused) > 1)
            console.print(
                "[bold]some data could not be sent to MLflow[/] and was saved locally"
                f"{escape(''.join(files))}; send it with "
                f"{command('sync')} folder={escape(shlex.quote(where))}",
                highlight=False,
                soft_wrap=True,
            )


def learn_ids(records: Sequence[RunRecord], store: Store) -> None:
    """Gives records the ids of runs that MLflow could only create after they had started."""
    pending = [record for record in records if ticket_of(record.run_id)]
    if pending and store.connection.up:
        with suppress(TrackingError):
            for record in pending:
                record.run_id = store.id_of(record.run_id)
