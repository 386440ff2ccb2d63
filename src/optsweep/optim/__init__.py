"""Optimizers, learning-rate schedules, flat parameter buffers and fast kernels."""
