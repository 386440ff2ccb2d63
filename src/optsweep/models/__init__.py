"""Architectures and losses; the names that conf/ gives are public and stay."""

from optsweep.system.lazy import public_names

__getattr__ = public_names(
    __name__,
    {
        "MLP": "architectures",
        "CNN": "architectures",
        "Softmax": "architectures",
        "ScratchSoftmax": "architectures",
        "resnet18": "architectures",
        "timm_model": "from_timm",
        "cross_entropy": "losses",
        "mse": "losses",
        "nll": "losses",
        "scratch_cross_entropy": "losses",
    },
)
