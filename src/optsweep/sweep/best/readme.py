"""The page beside a model that is kept: what it is, and the lines that use it."""

import json
from pathlib import Path

from optsweep.config.importing import find
from optsweep.models.trained_model import ModelSpec
from optsweep.records.run import RunRecord
from optsweep.records.values import SPLIT_NAMES
from optsweep.system.exceptions import is_users
from optsweep.system.project_folder import command

_MOST = 50  # class names that the page shows

_PAGE = """\
# {run}

The best model of sweep `{sweep}`, by {split} accuracy. Scores of its run `{run_id}`: {scores}.

```python
import optsweep

model = optsweep.load_model({folder})  # or the sweep's id, {id}
logits = model(images)  # {shape} -> [N, {count}]
names = [model.classes[number] for number in logits.argmax(1)]
```

`images` are uint8 from 0 to {peak}, as the dataset had them, or floats from 0 to 1. {scaling}
`model` is a `torch.nn.Module` in evaluation mode.

```sh
{command} model={sweep} pictures=FOLDER
```

{needs}| file | what it holds |
|---|---|
| `weights.safetensors` | weights, and in its header all that `load_model` needs |
| `model.json` | that header: how the model is built, class names, input shape, scaling |
| `config.yaml` | the resolved configuration of its run |

Classes: {classes}
"""


def readme(run: RunRecord, spec: ModelSpec, folder: Path, sweep: str) -> str:
    """The page for a run's model, kept in `folder`; `sweep` is the id of the sweep."""
    split = "val" if "val/accuracy" in run.metrics else "test"
    scores = [
        f"{SPLIT_NAMES[each]} accuracy {run.metrics[f'{each}/accuracy']:.4f}"
        for each in ("val", "test")
        if f"{each}/accuracy" in run.metrics
    ]
    names = [name.replace("`", "'") for name in spec.classes[:_MOST]]
    more = f" and {len(spec.classes) - _MOST:,} more" * (len(spec.classes) > _MOST)
    return _PAGE.format(
        run=run.name,
        run_id=run.run_id,
        sweep=sweep,
        split=SPLIT_NAMES[split],
        scores=", ".join(scores),
        folder=json.dumps(str(folder), ensure_ascii=False),
        id=json.dumps(sweep),
        shape=f"[N, {', '.join(map(str, spec.input_shape))}]",
        count=len(spec.classes),
        peak=spec.peak,
        scaling=_scaling(spec),
        command=command("predict"),
        needs=_needs(spec),
        classes=", ".join(f"`{name}`" for name in names) + more,
    )


def _scaling(spec: ModelSpec) -> str:
    if spec.mean is None or spec.std is None:
        return f"The model divides uint8 by {spec.peak} itself."
    mean, std = (", ".join(f"{value:.4g}" for value in each) for each in (spec.mean, spec.std))
    return (
        f"The model divides uint8 by {spec.peak}, subtracts {mean} and divides by {std} itself, "
        "channel by channel."
    )


def _needs(spec: ModelSpec) -> str:
    """What has to be there beside optsweep; empty where the model is of an installed package."""
    file = getattr(find(spec.model.target.partition(".")[0]), "__file__", None)
    if not file or not is_users(file):
        return ""
    return (
        f"The model is built by `{spec.model.target}` of `{file}`. That file is needed too: in the "
        "current folder, in the folder that holds `conf/`, or installed.\n\n"
    )
