"""optsweep: which optimizer and which learning rate to use, and how sure that is."""

__version__ = "0.1.0"
