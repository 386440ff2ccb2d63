"""Sends what a tracking server that was away could not take: see --help."""

import sys
from contextlib import suppress
from pathlib import Path

from optsweep.cli.commands.arguments import parse, tracking_defaults
from optsweep.errors import (
    CallFailed,
    FolderError,
    OptsweepError,
    SettingsError,
    TrackingError,
    Unreachable,
)
from optsweep.system import project_folder
from optsweep.system.redaction import redact
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import REFUSED, Outbox, outboxes

HELP = """\
Sends what a tracking server that was away could not take. Each run keeps it in its own folder,
in the file unsent.jsonl; what is sent twice, or by a run that is still running, is stored once.

  {command} [NAME=VALUE ...]

  folder        where to look: a run's folder, a sweep's, or one that holds many
                (default: {folder}/outputs)
  tracking.uri  address of the MLflow store
                (default: {uri})

The default store is that of conf/config.yaml; MLFLOW_TRACKING_URI names another.
What the store refuses, or fails at, is set aside in refused.jsonl, and tried again each time;
delete that file to give it up.
Exit code 1: the store did not take some of it, which is kept. 2: the arguments cannot be used, or
the store does not answer.
"""


def main(arguments: list[str]) -> int:
    """Sends what the arguments ask for; returns the exit code."""
    try:
        options = {"folder": "", "tracking.uri": tracking_defaults()["tracking.uri"]}
        if {"--help", "-h", "help"} & set(arguments):
            place = {"command": project_folder.command("sync"), "folder": project_folder.folder()}
            print(HELP.format(uri=redact(options["tracking.uri"]), **place), end="")
            return 0
        options |= parse(arguments, options)
        folder = (
            Path(options["folder"] or project_folder.folder() / "outputs").expanduser().absolute()
        )
        if options["folder"] and not folder.is_dir():
            raise SettingsError(f"folder={folder}: there is no such folder; type folder=outputs")
        return sync(folder, options["tracking.uri"])
    except OptsweepError as error:
        print(f"error: {redact(' '.join(str(error).split()))}", file=sys.stderr)
        return 2


def sync(folder: Path, uri: str) -> int:
    """Sends what is kept at and below a folder for the store at `uri`; returns the exit code.

    Raises:
        TrackingError: the store does not answer.
    """
    kept: dict[tuple[str, str], list[Path]] = {}
    for found in dict.fromkeys([*outboxes(folder), *outboxes(folder, REFUSED)]):
        kept.setdefault(Outbox(found).destination, []).append(found)
    if not kept:
        print(f"nothing is waiting to be sent in {folder}")
        return 0
    from optsweep.tracking.address import absolute, refuse_unusable
    from optsweep.tracking.store import Store  # this import takes seconds

    uri, refused = absolute(uri), False
    for (address, experiment_id), folders in kept.items():
        if address != redact(uri):
            print(f"{len(folders)} folders wait for {address}; type tracking.uri={address}")
            continue
        refuse_unusable(uri)
        store = Store.attach(uri, experiment_id)
        boxes = [Outbox(found) for found in folders]
        for box in boxes:
            with suppress(FolderError):  # another process has it, which `deliver` warns of
                box.take_back()
        try:
            sent = deliver(store, folders, whole=True, at_once=True)
        except TrackingError as error:
            if isinstance(error, Unreachable) and not isinstance(error, CallFailed):
                raise
            print(f"error: {redact(str(error))}", file=sys.stderr)
            refused = True
        else:
            print(f"sent {sent} calls of {len(folders)} runs to {redact(uri)}")
        for box in boxes:
            for reason in box.reasons:
                print(f"error: {reason}; the call is kept in {box.refused}", file=sys.stderr)
                refused = True
    return 1 if refused else 0
