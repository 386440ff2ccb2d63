"""A Hydra script whose jobs do nothing: what Hydra's own launcher costs a job.

A contestant of `experiments/benchmark.py many`; it composes the same conf/ as a run does.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parent.parent.parent
OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)
OmegaConf.register_new_resolver("shown_from", lambda verbose: "WARNING", replace=True)


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(config: DictConfig) -> None:
    """Nothing."""


if __name__ == "__main__":
    main()
