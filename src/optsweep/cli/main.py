"""The entry point: runs Hydra's main function, and turns errors into one line and an exit code.

`experiments/run.py` calls `main` with its Hydra function, which calls `single_run` for a single run
and a launcher for a sweep. The sweep's folder and the command to resume with are handled here too.
"""

import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.optsweep._saving import keep_secrets_from_hydra
from hydra_plugins.optsweep.grid import is_typed
from optsweep.cli.arguments import unknown_flag
from optsweep.cli.jobs import new_job
from optsweep.cli.messages import in_one_line, is_hydras
from optsweep.config.settings import Settings
from optsweep.errors import OptsweepError, RunsFailed, Terminated
from optsweep.system import process as imports
from optsweep.system.folders import is_used, refuse_used
from optsweep.system.redaction import redact, redacted

FAILED = 1  # exit code: runs failed, the others finished
BAD_INPUT = 2  # exit code: nothing was trained
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM

_HYDRAS = ("config.yaml", "hydra.yaml", "overrides.yaml")  # what Hydra writes into `.hydra`


def main(hydra_main: Callable[[], None]) -> int:
    """Runs a Hydra main function, reports its errors, and returns the exit code.

    Bad input is one line on stderr and code 2; failed runs, which the sweep has shown, give 1;
    Ctrl-C 130 and SIGTERM 143. Any other exception is a bug of the program: its traceback, and 1.
    """
    signal.signal(signal.SIGTERM, _terminate)
    keep_secrets_from_hydra()
    if refusal := unknown_flag(sys.argv[1:]):
        print(f"error: {redact(refusal)}", file=sys.stderr)
        return BAD_INPUT
    try:
        refuse_typed_folder(sys.argv[1:])
        hydra_main()
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
        return FAILED if isinstance(error, RunsFailed) else BAD_INPUT
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
    hydra = HydraConfig.get()
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    given = {str(key): value for key, value in values.items()}
    settings = Settings.from_config(given, hydra.runtime.choices)
    refuse_silent_store(settings.tracking_uri)
    folder, typed = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    with imports.importing():
        job = new_job(settings, given, folder, typed, {})

        # Not before: importing mlflow takes seconds, which a refusal need not wait for.
        from rich.console import Console

        from optsweep.sweep.resume import refuse_others
        from optsweep.sweep.single_run import run_single
        from optsweep.tracking.store import Store
        from optsweep.verdict.ranking import objective

        store = Store.open(settings.tracking_uri, settings.experiment)
    if is_used(folder):
        same = {"kind": "run", "fingerprint": job.fingerprint}
        earlier = store.find(**same) if settings.resume else []
        identity = job.fingerprint if settings.resume else ""
        refuse_others(earlier, "run", identity, folder, "hydra.run.dir")
    with printing_resume_command():
        return objective(run_single(job, store, Console()).metrics)


@contextmanager
def removing_refused_folder(folder: Path) -> Iterator[None]:
    """Removes what Hydra wrote for a run that is refused, and the folder where nothing is left."""
    try:
        yield
    except (OptsweepError, HydraException, OmegaConfBaseException):
        config, log = folder / ".hydra", folder / "optsweep.log"
        with suppress(OSError):
            if set(folder.iterdir()) <= {config, log} and not (log.exists() and log.stat().st_size):
                for path in (*(config / name for name in _HYDRAS), log):
                    path.unlink(missing_ok=True)
                config.rmdir()
                if not any(typed.startswith("hydra.run.dir=") for typed in sys.argv[1:]):
                    folder.rmdir()
        raise


@contextmanager
def sweep_folder(config: DictConfig) -> Iterator[None]:
    """Makes a sweep's folder, and in the end removes it again where it has stayed empty."""
    folder = Path(config.hydra.sweep.dir)
    is_new = not is_typed(config) or not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def refuse_typed_folder(arguments: Sequence[str]) -> None:
    """Looks into a folder that was typed for a single run, before Hydra writes into it.

    Raises:
        FolderError: it holds something.
    """
    key = "hydra.run.dir"
    typed = dict(argument.partition("=")[::2] for argument in arguments)
    folder = Path(typed.get(key, "").strip("'\"")).absolute()
    resumed = typed.get("resume") == "true" and is_used(folder)
    many = {"-m", "--multirun"} & set(arguments)
    if key in typed and "${" not in typed[key] and not many and not resumed:
        refuse_used(folder, key)


@contextmanager
def printing_resume_command() -> Iterator[None]:
    """On an interrupt, prints the command that resumes the run or sweep."""
    try:
        yield
    except KeyboardInterrupt:
        typed = [argument for argument in sys.argv[1:] if not argument.startswith("resume=")]
        shown = redacted(typed)
        print(f"Resume with: {shlex.join(['python', sys.argv[0], *shown, 'resume=true'])}")
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
