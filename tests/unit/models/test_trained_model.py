"""A trained model in one file: it gives what its run gave, and says what is wrong with a file."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from optsweep.config.settings import Option
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.errors import ModelError, OptsweepError, SettingsError
from optsweep.models.trained_model import WEIGHTS, ModelSpec, TrainedModel, load, save
from optsweep.records.run import RunRecord
from support.in_process import new, train_here

MLP = ("model.hidden=[16]", "epochs=1", "lr=0.1")
CNN = ("model=cnn", "dataset.resize=16", "dataset.normalize=true", "epochs=1", "lr=0.05")
SCRATCH = ("model=scratch_softmax", "loss=scratch_cross_entropy", "epochs=1", "lr=0.1")
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, input_shape, classes, width=4, pretrained=False):
        assert not pretrained
        super().__init__(nn.Flatten(), nn.Linear(8, width), nn.Linear(width, classes))
"""
SPEC = ModelSpec(
    model=Option("net", "own_net.Net", {"width": 4}),
    classes=("cat", "dog"),
    input_shape=(2, 2, 2),
    peak=255,
    mean=(0.25, 0.5),
    std=(0.5, 2.0),
    dataset=Option("digits", "optsweep.data.digits", {}),
    data_dir=Path("data"),
    val_fraction=0.1,
)


def trained(project: Path, *overrides: str) -> tuple[TrainedModel, Dataset, RunRecord]:
    """A model as a run left it, its dataset, and the record of the run."""
    record = train_here(project, *overrides)
    (file,) = project.glob(f"outputs/{WEIGHTS}")
    return load(file), load_dataset(new(project, *overrides).settings), record


@pytest.fixture
def own_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of a user's own, in the current folder; returns the folder."""
    (tmp_path / "own_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("own_net", None)
    yield tmp_path
    sys.modules.pop("own_net", None)


def kept(folder: Path, spec: ModelSpec = SPEC, width: int = 4) -> Path:
    """A file of a model of two linear layers."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.Linear(width, 2))
    save(layers.state_dict(), spec, folder / WEIGHTS)
    return folder / WEIGHTS


@pytest.mark.parametrize("overrides", [MLP, CNN], ids=["mlp", "cnn"])
def test_it_gives_what_the_run_measured(project: Path, overrides: tuple[str, ...]) -> None:
    model, data, record = trained(project, *overrides)
    assert not model.training and model.classes == data.classes
    assert model.input_shape == data.input_shape
    with torch.inference_mode():
        logits = model(data.test.images)
        expected = model.network(data.scale(data.test.images))
        floats = model(data.test.images / data.peak)
    assert torch.equal(logits, expected) and torch.equal(floats, expected)
    loss = nn.functional.cross_entropy(logits, data.test.labels).item()
    right = (logits.argmax(1) == data.test.labels).double().mean().item()
    assert loss == pytest.approx(record.metrics["test/loss"], abs=1e-6)
    assert right == record.metrics["test/accuracy"]


def test_one_image_gives_one_row_and_another_shape_is_refused(project: Path) -> None:
    model, data, _ = trained(project, *MLP)
    images = data.test.images[:3]
    assert torch.allclose(model(images[1]), model(images)[1], atol=1e-6)
    with pytest.raises(ValueError, match=r"images are \[3, 1, 8, 9\]; .* takes \[N, 1, 8, 8\]"):
        model(torch.zeros(3, 1, 8, 9))
    classes, probabilities = model.predict(iter(images.split(2)))
    assert classes.tolist() == model(images).argmax(1).tolist()
    assert torch.allclose(probabilities, model(images).softmax(1).max(1).values)


def test_the_logits_of_probabilities_are_their_logarithms(project: Path) -> None:
    model, data, _ = trained(project, *SCRATCH)
    probabilities = model.network(data.scale(data.test.images))
    assert torch.allclose(model(data.test.images).softmax(1), probabilities, atol=1e-6)


def test_the_callers_images_stay_as_they_were(own_net: Path) -> None:
    images = torch.rand(3, 2, 2, 2)
    before = images.clone()
    load(kept(own_net))(images)
    assert torch.equal(images, before)


def test_published_weights_are_not_fetched_to_be_written_over(own_net: Path) -> None:
    option = Option("net", "own_net.Net", {"pretrained": True})
    file, state = kept(own_net, replace(SPEC, model=option)), torch.random.get_rng_state()
    assert load(file).classes == ("cat", "dog")
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.long
@settings(max_examples=50, deadline=None)
@given(
    classes=st.lists(st.text(), min_size=1, max_size=4).map(tuple),
    mean=st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=1).map(tuple),
    value=st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
)
def test_what_is_known_of_a_model_is_read_back_as_it_was(
    classes: Any, mean: Any, value: Any
) -> None:
    spec = replace(
        SPEC, classes=classes, mean=mean, std=mean, model=Option("a", "b.C", {"d": value})
    )
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_secrets_of_addresses_are_not_kept(project: Path) -> None:
    option = Option("a", "optsweep.data.digits", {"mirror": "https://me:hidden@example.org/data"})
    own = new(project).settings
    given = replace(own, dataset=option, model=replace(option, name="b"))
    text = ModelSpec.of(given, load_dataset(own)).to_json()
    assert "hidden" not in text and text.count("***@example.org/data") == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"no weights", "cannot be read"),
        (None, "cannot be read"),
        ("torn", "cannot be read"),
        ("plain", "an earlier version"),
        ("other", "of another version"),
        ("list", "of another version"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(own_net: Path, content: Any, words: str) -> None:
    file = kept(own_net)
    if content is None:
        file.unlink()
    elif content == "torn":
        file.write_bytes(file.read_bytes()[:-10])
    elif content in ("plain", "other", "list"):
        about = {"other": {"optsweep": '{"classes": []}'}, "list": {"optsweep": "[]"}}
        save_file(load_file(file), file, metadata=about.get(content))
    else:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=words) as raised:
        load(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("", "own_net.Net cannot be imported"),
        ("class Net:\n    pass\n", "takes no such argument"),
        ("Net = lambda shape, classes, width: 3\n", "builds a int"),
        ("import nowhere\n", "nowhere"),
        (
            NET.replace("width)", "width + 1)").replace("Linear(width,", "Linear(width + 1,"),
            "has changed",
        ),
    ],
)
def test_code_that_is_gone_or_has_changed_is_one_line(
    own_net: Path, change: str, words: str
) -> None:
    file = kept(own_net)
    (own_net / "own_net.py").write_text(change)
    with pytest.raises(OptsweepError, match=words) as raised:
        load(file)
    assert "\n" not in str(raised.value)


def test_a_module_that_is_not_there_is_named_with_where_it_is_looked_for(own_net: Path) -> None:
    file = kept(own_net)
    (own_net / "own_net.py").unlink()
    with pytest.raises(SettingsError, match=f"make own_net.py in {own_net}"):
        load(file)


def test_the_file_says_all_of_it_in_its_header(own_net: Path) -> None:
    from safetensors import safe_open

    with safe_open(kept(own_net), framework="pt") as stored:
        about = json.loads(stored.metadata()["optsweep"])
    assert about["classes"] == ["cat", "dog"] and about["peak"] == 255


def test_equal_models_are_equal_files(own_net: Path) -> None:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2))
    found = set()
    for number in range(8):
        save(layers.state_dict(), SPEC, own_net / f"{number}.safetensors")
        found.add((own_net / f"{number}.safetensors").read_bytes())
    assert len(found) == 1
