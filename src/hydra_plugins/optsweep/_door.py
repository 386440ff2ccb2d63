"""From Hydra's config to a job, and from Hydra's errors to one line.

`experiments/run.py` hands its command line to `main`. A composed config is turned into settings
here, once; behind this file nobody knows Hydra. (Hydra does not scan a module whose name starts
with an underscore for plugins.)
"""

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.optsweep._messages import in_one_line, is_hydras, unknown_flag
from optsweep.errors import OptsweepError, RunsFailed, Terminated
from optsweep.settings import Settings

if TYPE_CHECKING:
    from optsweep.run import Job

FAILED = 1  # exit code: runs failed, the others were carried out
BAD_INPUT = 2  # exit code: nothing was trained
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM


def main(hydra_main: Callable[[], None]) -> int:
    """Runs a Hydra main function and answers what goes wrong: the exit code.

    What a person can put right is one line on stderr and code 2; failed runs, of which the sweep
    has told, give 1; Ctrl-C 130 and SIGTERM 143. Any other exception is a fault of the program
    and goes on with its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    if refusal := unknown_flag(sys.argv[1:]):
        print(f"error: {refusal}", file=sys.stderr)
        return BAD_INPUT
    try:
        hydra_main()
    except (OptsweepError, HydraException, OmegaConfBaseException) as error:
        return _answer(error)
    except OSError as error:
        if error.filename is None:
            raise
        return _answer(error)
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if not is_hydras(error):
            raise
        return _answer(error)
    return 0


def _answer(error: Exception) -> int:
    print(f"error: {in_one_line(error, sys.argv[1:])}", file=sys.stderr)
    return FAILED if isinstance(error, RunsFailed) else BAD_INPUT


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def single_run(config: DictConfig) -> float:
    """Carries out the one run that a composed config describes; returns its ranking accuracy."""
    try:
        return _single_run(config)
    except (OptsweepError, OmegaConfBaseException) as error:
        # Hydra would print its own line above the message of an Exception that it is given.
        sys.exit(_answer(error))


def _single_run(config: DictConfig) -> float:
    hydra = HydraConfig.get()
    check_values(config, hydra)  # before the imports below, which take seconds
    from rich.console import Console

    from optsweep.run import objective, ready, run, show
    from optsweep.tracking import Store

    job = job_from_config(config, hydra, list(hydra.overrides.task), (), ready)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    console = Console()
    result = run(job, store, console=console, figures=job.settings.figures != "none")
    show(result, store, console)
    return objective(result.metrics)


def split_config(config: DictConfig) -> tuple[DictConfig, Any]:
    """A composed config without its `hydra` node, which Hydra's resolver then answers for."""
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(
        config, [str(key) for key in config if key != "hydra"]
    ), config.hydra


def check_values(config: DictConfig, hydra: Any) -> None:
    """Refuses what a composed config says wrongly, as far as that can be told without torch.

    Raises:
        SettingsError: a value is missing, unknown, of the wrong type or out of its range.
    """
    Settings.from_config(_plain(config), hydra.runtime.choices)


def _plain(config: DictConfig) -> dict[str, Any]:
    """The config as containers, its interpolations resolved."""
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def job_from_config(
    config: DictConfig,
    hydra: Any,
    overrides: Sequence[str],
    swept: Iterable[str],
    ready: Callable[[Settings], Settings],
) -> "Job":
    """A composed config as a checked job, with the choices in its `hydra` node.

    Raises:
        OptsweepError: a value cannot be used.
    """
    from optsweep.run import Job
    from optsweep.tracking import redact

    given, choices = _plain(config), hydra.runtime.choices
    settings = Settings.from_config(given, choices)
    values = {key: _value_of(key, given, choices) for key in swept}
    text = redact(OmegaConf.to_yaml(OmegaConf.create(given)))
    return Job(ready(settings), Path(hydra.runtime.output_dir), list(overrides), values, text)


def _value_of(key: str, config: dict[str, Any], choices: Any) -> Any:
    """The value of a swept key: a group's option, or the value at a dotted path."""
    if key in choices:
        return choices[key]
    node: Any = config
    for part in key.split("."):
        node = node[part]
    return node


def swept_keys(job_overrides: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ between jobs, in the order in which they were typed."""
    seen: dict[str, set[str]] = {}
    for overrides in job_overrides:
        for override in overrides:
            key, _, value = override.partition("=")
            seen.setdefault(key.lstrip("+~").partition("@")[0], set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1 and not key.startswith("hydra.")]


def keep_config(config: DictConfig, folder: Path) -> None:
    """Writes `.hydra/` into a run's folder, as Hydra does for the runs that it carries out."""
    own, hydra = split_config(config)
    target = folder / str(hydra.output_subdir)
    target.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(own, target / "config.yaml")
    OmegaConf.save(OmegaConf.masked_copy(config, ["hydra"]), target / "hydra.yaml")
    OmegaConf.save(hydra.overrides.task, target / "overrides.yaml")
