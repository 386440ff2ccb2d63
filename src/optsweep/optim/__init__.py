"""Optimizers, learning-rate schedules, flat parameter buffers and fast kernels."""

from optsweep.system.lazy import public_names

__getattr__ = public_names(__name__, {"Routed": "routing", "ScratchSGD": "optimizers"})
