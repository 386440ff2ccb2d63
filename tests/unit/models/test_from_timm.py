"""Models of timm by name."""

from typing import Any

import pytest
import timm
import torch

from optsweep.errors import SettingsError
from optsweep.models import timm_model


@pytest.mark.parametrize(
    ("name", "shape"),
    [("resnet10t", (1, 8, 8)), ("mobilenetv3_small_050", (3, 32, 32)), ("test_vit", (1, 32, 32))],
)
def test_a_model_fits_itself_to_channels_classes_and_size(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = timm_model(shape, 7, name)
    assert model.eval()(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet10", "type model.name=resnet10t (near: resnet10t, "),
        ("no such thing at all", "one of timm.list_models()"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        timm_model((1, 8, 8), 10, name)
    assert f"model.name={name}: timm has no such model" in str(refused.value)
    assert words in str(refused.value)


def test_weights_that_are_out_of_reach_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*args: Any, **keywords: Any) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("requests.head", silent)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    monkeypatch.delattr(timm, "create_model")  # it would ask again and again
    with pytest.raises(SettingsError) as refused:
        timm_model((1, 8, 8), 10, "resnet10t", pretrained=True)
    said = str(refused.value)
    assert "(no route to host); type model.pretrained=false" in said and "\n" not in said
