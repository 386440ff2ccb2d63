"""Plain data: what became of runs and sweeps, grouped, merged and put into words."""
