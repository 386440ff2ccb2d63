"""Trains one run, or sweeps many, as the command line says: see --help."""

if __name__ == "__main__":  # a worker imports this file too: it has no need of Hydra
    import os
    from pathlib import Path

    import hydra
    from omegaconf import DictConfig, OmegaConf

    from optsweep.cli.main import main, single_run
    from optsweep.system.process import leave

    ROOT = Path(__file__).resolve().parent.parent
    OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
    def experiment(config: DictConfig) -> float:
        """One run of Hydra's: the settings in, the accuracy that runs are ranked by out."""
        return single_run(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to `main`, which explains them
    leave(main(experiment))
