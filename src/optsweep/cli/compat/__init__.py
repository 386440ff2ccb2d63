"""What is private in Hydra and OmegaConf, or differs between their versions: nowhere else."""
