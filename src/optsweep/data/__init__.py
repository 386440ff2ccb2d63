"""Datasets: where images come from, how they are kept on disk, split and ordered.

The names that conf/ and datasets of users give are public and stay.
"""

from optsweep.system.lazy import public_names

__getattr__ = public_names(
    __name__,
    {
        "digits": "builtin",
        "torchvision_source": "builtin",
        "image_folder": "folder",
        "Source": "source",
        "make_source": "source",
        "Split": "splits",
    },
)
