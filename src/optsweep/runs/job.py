"""A job: a run's settings, checked and ready to start.

A `Job` is plain data that holds all that a worker needs to know. `cli/jobs.py` makes it from
settings that `preflight.checked` has tried.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optsweep.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """A run's checked settings, its folder, and the overrides as typed.

    `swept` maps the values that the sweep varies to this run's choice; `config` is the resolved
    config as YAML; `overrides` are as typed. `fingerprint` is the settings' with the dataset's
    digest; `data` says on one line what the dataset holds. `run_id` names the run in MLflow that is
    to be resumed, where there is one. `hopeless`, of a search that prunes, is given each epoch but
    the last with its ranking accuracy, and says whether the run is to end there.
    """

    settings: Settings
    folder: Path
    fingerprint: str
    overrides: Sequence[str] = ()
    swept: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    data: str = ""
    run_id: str | None = None
    hopeless: Callable[[int, float], bool] | None = None

    @property
    def name(self) -> str:
        """The run's name: `adam lr=0.001 seed=0`, and what else is swept."""
        settings = self.settings
        named = {"optimizer", "lr", "seed"}
        others = [f"{key}={value}" for key, value in self.swept.items() if key not in named]
        words = [settings.optimizer.name, f"lr={settings.lr:g}", *others, f"seed={settings.seed}"]
        return " ".join(words)
