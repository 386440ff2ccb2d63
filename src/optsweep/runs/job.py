"""A run that is to be carried out, checked before anything starts.

`checked` is given settings and builds everything that a run needs, without training: what cannot
work is refused while it costs nothing. A `Job` then holds all that a worker needs to know.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optsweep.config.settings import Settings


@dataclass(frozen=True)
class Job:
    """A run to be carried out: its settings, its folder, and how it was asked for.

    `swept` maps the values that the sweep varies to this run's choice; `config` is the resolved
    config as YAML; `overrides` are as typed. `fingerprint` is the settings' with the dataset's
    digest. `run_id` names the run in MLflow that is to be gone on with, where there is one.
    `hopeless`, of a search that prunes, is told of each epoch but the last with its ranking
    accuracy, and says whether the run is to end there.
    """

    settings: Settings
    folder: Path
    fingerprint: str
    overrides: Sequence[str] = ()
    swept: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    run_id: str | None = None
    hopeless: Callable[[int, float], bool] | None = None

    @property
    def name(self) -> str:
        """What tells this run from others: `adam lr=0.001 seed=0`, and what else is swept."""
        settings = self.settings
        named = {"optimizer", "lr", "seed"}
        others = [f"{key}={value}" for key, value in self.swept.items() if key not in named]
        words = [settings.optimizer.name, f"lr={settings.lr:g}", *others, f"seed={settings.seed}"]
        return " ".join(words)
