"""The entry point: runs Hydra's main function, and turns errors into one line and an exit code.

`experiments/run.py` and the command `optsweep` call `main`. Hydra calls `single_run` for a single
run, and a launcher for a sweep. The command to resume with is printed here too.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from optsweep.cli.compat.hydra import keep_secrets_from_hydra, run_hydra
from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.cli.composing import plain
from optsweep.cli.flags import command, unknown_flag
from optsweep.cli.folder_checks import refuse_typed_folder, remove_unused, removing_refused_folder
from optsweep.cli.grids import middle_rate, refuse_union_of_one
from optsweep.cli.input_errors import in_one_line, is_hydras
from optsweep.cli.jobs import new_job
from optsweep.cli.options import refuse_foreign_config
from optsweep.config.settings import Settings
from optsweep.config.verbosity import shown_from
from optsweep.errors import OptsweepError, RunsFailed, Terminated
from optsweep.system import process
from optsweep.system import project_folder as project
from optsweep.system.folders import is_used
from optsweep.system.redaction import redact, redacted

if TYPE_CHECKING:
    from optsweep.runs.job import Job

FAILED = 1  # exit code: runs failed, the others finished; or the disk is full
BAD_INPUT = 2  # exit code: nothing was trained
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM


def main() -> int:
    """Does what the command line says, reports errors, and returns the exit code.

    Bad input is one line on stderr and code 2; failed runs, which the sweep has shown, and a disk
    that became full give 1; Ctrl-C 130 and SIGTERM 143. Any other exception is a bug of the
    program: its traceback, and 1.
    """
    signal.signal(signal.SIGTERM, _terminate)
    keep_secrets_from_hydra()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through, which are explained here
    register_resolver("project_root", lambda: str(project.folder()))
    register_resolver("command", project.command)  # for --help
    register_resolver("shown_from", shown_from)  # for hydra.verbose
    if refusal := unknown_flag(sys.argv[1:]):
        print(f"error: {redact(refusal)}", file=sys.stderr)
        return BAD_INPUT
    try:
        refuse_foreign_config()
        refuse_typed_folder(sys.argv[1:])
        run_hydra(project.config_folders()[-1], single_run)
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return _answer(error)
    return 0


def _answer(error: Exception) -> int:
    if _can_be_put_right(error):
        print(f"error: {in_one_line(error, sys.argv[1:])}", file=sys.stderr)
        # A disk that is full later than at the start, where `refuse_full` looks, is no wrong input.
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        return FAILED if full or isinstance(error, RunsFailed) else BAD_INPUT
    print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    return FAILED


def _can_be_put_right(error: Exception) -> bool:
    """Whether the user can do something about it, other than fix the program."""
    if isinstance(error, OptsweepError | HydraException | OmegaConfBaseException):
        return True
    return error.filename is not None if isinstance(error, OSError) else is_hydras(error)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def single_run(config: DictConfig) -> float:
    """Runs the one run that a composed config describes; returns its ranking accuracy."""
    try:
        with removing_refused_folder(Path(HydraConfig.get().runtime.output_dir)):
            return _single_run(config)
    except Exception as error:
        # Hydra would print a line of its own above, with what was typed, secrets included.
        sys.exit(_answer(error))


def _single_run(config: DictConfig) -> float:
    composed = HydraConfig.get()
    refuse_union_of_one(composed)
    given = plain(config, resolve=True)
    if (rate := middle_rate(given, composed.runtime.choices)) is not None:
        print(f"lr=auto is {rate:g} here, the middle of its optimizer's range; -m sweeps the range")
        with open_dict(config):
            config.lr = rate
        given = plain(config, resolve=True)
    settings = Settings.from_config(given, composed.runtime.choices)
    if settings.open:
        print("warning open=true: a single run has no report; -m makes a sweep, which has one")
    refuse_silent_store(settings.tracking_uri)
    folder, typed = Path(composed.runtime.output_dir), list(composed.overrides.task)
    with process.importing():
        job = new_job(settings, given, folder, typed, {})

        # Not before: importing mlflow takes seconds, which a refusal need not wait for.
        from rich.console import Console

        from optsweep.runs.preflight import bytes_needed_by
        from optsweep.sweep.display.lines import say
        from optsweep.sweep.resume import refuse_others
        from optsweep.sweep.single_run import run_single
        from optsweep.system.disk import refuse_full
        from optsweep.tracking.store import Store
        from optsweep.verdict.ranking import objective

        if settings.plan or settings.check:
            for line in _instead_of_running(job):
                say(Console(), line)
            remove_unused(folder, parents=2)  # those of the day and of all
            return 0.0
        refuse_full(folder, bytes_needed_by(job.settings), "hydra.run.dir")
        store = Store.open(settings.tracking_uri, settings.experiment)
    if is_used(folder):
        same = {"kind": "run", "fingerprint": job.fingerprint}
        earlier = store.find(**same) if settings.resume else []
        identity = job.fingerprint if settings.resume else ""
        refuse_others(earlier, "run", identity, folder, "hydra.run.dir")
    with printing_resume_command():
        return objective(run_single(job, store, Console()).metrics)


def _instead_of_running(job: "Job") -> Iterator[str]:
    """What `check` and `plan` say of a run that is not trained."""
    from optsweep.sweep.planning.check_summary import checked_lines
    from optsweep.sweep.planning.plan_preview import forecast_run

    if job.settings.check:
        yield from checked_lines([job.settings])
    if job.settings.plan:
        yield from forecast_run(job)


@contextmanager
def printing_resume_command() -> Iterator[None]:
    """On an interrupt, prints the command that resumes the run or sweep."""
    try:
        yield
    except KeyboardInterrupt:
        typed = [argument for argument in sys.argv[1:] if not argument.startswith("resume=")]
        shown = redacted(typed)
        print(f"Resume with: {command(*shown, 'resume=true')}")
        if shown != typed:
            print("(*** stands for a password or a token that is not shown; type it instead)")
        raise


def refuse_silent_store(uri: str) -> None:
    """Tries a store's server now rather than after the imports and checks that take seconds.

    A file is left alone: it would be created, for a run that may yet be refused.

    Raises:
        TrackingError: the server does not answer.
    """
    from optsweep.tracking.address import refuse_unusable, sqlite_path

    if sqlite_path(uri) is None:
        refuse_unusable(uri)
