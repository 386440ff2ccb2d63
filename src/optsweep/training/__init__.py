"""The core loop, stacked models, CUDA graphs, devices and checkpoints."""
