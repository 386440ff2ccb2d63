"""What a process imports that draws."""

import subprocess
import sys


def test_neither_pyplot_nor_torch_is_imported() -> None:
    program = (
        "import sys, numpy as np; from optsweep.report.figures import run\n"
        "run.confusion_matrix(np.arange(2), np.arange(2), ['a', 'b']).canvas.draw()\n"
        "assert not {'matplotlib.pyplot', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_neither_pyplot_nor_torch_nor_mlflow_is_imported() -> None:
    program = (
        "import sys; from optsweep.report import page; from optsweep.report.figures import sweep\n"
        "assert not {'matplotlib.pyplot', 'torch', 'mlflow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
