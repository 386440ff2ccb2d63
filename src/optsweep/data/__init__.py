"""Datasets: where images come from, how they are kept on disk, split and ordered."""
