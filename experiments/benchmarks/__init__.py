"""The parts of `experiments/benchmark.py`, one file each."""
