"""Settings are typed, checked in one line, and known by what decides their result."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from optsweep.config.settings import GROUPS, Option, Settings
from optsweep.errors import SettingsError
from support.config import composed
from support.settings import CHOICES, CONFIG, changed

DIGEST = "d" * 32


def refused(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        changed(**values)
    message = str(caught.value)
    assert "\n" not in message, "one line for a person"
    return message


def test_a_config_becomes_typed_values() -> None:
    settings = changed(lr=1, threads=2, data_dir="~/data")
    assert (settings.lr, type(settings.lr)) == (1.0, float)
    assert settings.threads == 2
    assert settings.data_dir == Path.home() / "data"
    arguments = {k: v for k, v in CONFIG["optimizer"].items() if not k.startswith("_")}
    assert settings.optimizer == Option("sgd", "torch.optim.SGD", arguments, (1e-2, 1.0))
    assert settings.preset is None
    assert Settings.from_config(CONFIG, {**CHOICES, "preset": "quickstart"}).preset == "quickstart"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0}, "lr=0: must be a finite number above 0; type for example lr=1e-3"),
        ({"lr": -1e-3}, "lr=-0.001: must be a finite number above 0"),
        ({"lr": float("nan")}, "lr=nan: must be a finite number"),
        ({"lr": float("inf")}, "lr=inf: must be a finite number"),
        ({"lr": "fast"}, "lr=fast: must be a finite number"),
        ({"lr": True}, "lr=True: must be a finite number"),
        ({"lr": None}, "lr=null: must be a finite number"),
        (
            {"lr": [0.1, 1]},
            "lr=[0.1, 1]: one value is needed; several make a sweep: "
            "python experiments/run.py -m lr=0.1,1",
        ),
        ({"batch_size": 0}, "batch_size=0: must be an integer >= 1"),
        ({"batch_size": 6.5}, "type for example batch_size=64"),
        ({"epochs": 10.0}, "epochs=10.0: must be an integer >= 1"),
        ({"epochs": True}, "epochs=True: must be an integer"),
        ({"seed": -1}, "seed=-1: must be an integer >= 0"),
        ({"seed": 2**63}, f"seed={2**63}: must be below 2**63"),
        ({"threads": 0}, "threads=0: must be an integer >= 1"),
        ({"log_every": 0}, "log_every=0: must be an integer >= 1"),
        ({"val_fraction": 1}, "val_fraction=1: must be a number from 0 up to, but not including"),
        ({"val_fraction": -0.1}, "val_fraction=-0.1: must be a number from 0"),
        ({"device": "gpu"}, "device=gpu: must be one of auto, cpu, cuda, cuda:N, mps; "),
        ({"device": "gpu"}, "type for example device=cuda"),
        ({"device": "cuda:"}, "device=cuda:: must be one of"),
        ({"device": None}, "device=null: must be one of"),
        ({"precision": "fp16"}, "precision=fp16: must be one of fp32, tf32, bf16; "),
        ({"precision": "fp16"}, "type for example precision=bf16"),
        ({"figures": "al"}, "figures=al: must be one of none, best, all; type for example"),
        ({"evaluate_first": "yes"}, "evaluate_first=yes: must be true or false"),
        ({"evaluate_first": 1}, "evaluate_first=1: must be true or false"),
        ({"select": "first"}, "select=first: must be one of last, best; type for example"),
        ({"patience": 0}, "patience=0: must be an integer >= 1; type for example patience=5"),
        (
            {"select": "best", "val_fraction": 0},
            "select=best needs validation data, and val_fraction=0 leaves none; type val_fraction=",
        ),
        ({"patience": 2, "val_fraction": 0.0}, "patience=2 needs validation data, and val_frac"),
        ({"data_dir": ""}, "data_dir=: must be a text, not empty"),
        ({"data_dir": None}, "data_dir=: must be a text, not empty"),
        ({"tracking": {"uri": " ", "experiment": "a"}}, "tracking.uri= : must be a text"),
        ({"tracking": {"uri": "a", "experiment": ""}}, "tracking.experiment=: must be a text"),
        ({"epoch": 3}, "epoch=3: there is no such value; did you mean epochs?"),
        ({"zzz": 3}, "zzz=3: there is no such value"),
        ({"optimizer": None}, "optimizer=None: conf/optimizer/ has no such option"),
        ({"optimizer": {"lr": 1}}, "conf/optimizer/ has no such option with a _target_"),
        ({"optimizer": "adam"}, "optimizer=adam: conf/optimizer/ has no such option"),
        ({"dataset": {"_target_": "a.b", "shuffle": 1}}, "dataset.shuffle=1: must be true or"),
        ({"dataset": {"_target_": "a.b", "normalize": "no"}}, "dataset.normalize=no: must be"),
        (
            {"dataset": {"_target_": "a.b", "augment": "crop"}},
            "dataset.augment=crop: must be one of none, flip, crop_flip; type for example",
        ),
        ({"dataset": {"_target_": "a.b", "limit": 0}}, "dataset.limit=0: must be an integer"),
        ({"dataset": {"_target_": "a.b", "resize": 1.5}}, "dataset.resize=1.5: must be an integer"),
        ({"dataset": {"_target_": "a.b", "size": -1}}, "dataset.size=-1: must be an integer"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_to_type(
    values: dict[str, Any], message: str
) -> None:
    assert message in refused(**values)


@pytest.mark.parametrize("name", ["lr", "epochs", "seed", "device", "data_dir"])
def test_a_value_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is missing from conf/config.yaml"):
        Settings.from_config({k: v for k, v in CONFIG.items() if k != name}, CHOICES)


Junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@examples(max_examples=300, deadline=None)
@given(name=st.sampled_from([name for name in CONFIG if name != "tracking"]), value=Junk)
def test_any_value_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    try:
        settings = changed(**{name: value})
    except SettingsError as error:
        assert str(error).startswith(name)
    else:
        assert name not in GROUPS
        kept = getattr(settings, name)
        assert kept == value or kept == Path(str(value)).expanduser()


@examples(deadline=None)
@given(
    lr=st.floats(0, exclude_min=True, allow_infinity=False),
    batch_size=st.integers(1, 2**63 - 1),
    epochs=st.integers(1, 10**9),
    seed=st.integers(0, 2**63 - 1),
    val_fraction=st.floats(0, 1, exclude_max=True),
    threads=st.none() | st.integers(1, 512),
    device=st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:15"]),
    precision=st.sampled_from(["fp32", "tf32", "bf16"]),
)
def test_good_values_come_out_as_they_went_in(**values: Any) -> None:
    settings = changed(**values)
    assert {name: getattr(settings, name) for name in values} == values


@pytest.mark.parametrize(
    "rates", [0.1, [0.1], [0.1, 1, 2], [1, 0.1], [0, 1], ["a", "b"], [1, True], [1, float("inf")]]
)
def test_a_range_of_rates_is_two_positive_numbers_the_lower_first(rates: Any) -> None:
    message = refused(optimizer={**CONFIG["optimizer"], "_rates_": rates})
    assert message.startswith("optimizer._rates_=") and "type for example" in message


def test_a_range_of_rates_changes_nothing_about_a_run() -> None:
    settings = changed()
    for rates in (None, [1e-4, 1]):
        other = changed(optimizer={**CONFIG["optimizer"], "_rates_": rates})
        assert other.optimizer.rates == (rates and tuple(rates))
        assert other.params() == settings.params()
        assert other.fingerprint("") == settings.fingerprint("")


# What MLflow shows.


def test_params_are_short_flat_names() -> None:
    params = composed("optimizer=adam").params()
    options = {group: params[group] for group in GROUPS}
    assert options == {
        "dataset": "digits",
        "model": "mlp",
        "optimizer": "adam",
        "loss": "cross_entropy",
        "schedule": "constant",
    }
    assert (params["lr"], params["batch_size"], params["epochs"]) == (1e-3, 64, 10)
    assert (params["seed"], params["device"], params["val_fraction"]) == (0, "auto", 0.1)
    assert params["optimizer.betas"] == [0.9, 0.999]
    assert params["model.hidden"] == [512, 512]
    assert params["dataset.shuffle"] is True
    assert not any("_target_" in name for name in params)
    assert {name.partition(".")[0] for name in params if "." in name} <= set(GROUPS)


@pytest.mark.parametrize(
    ("overrides", "name", "value"),
    [
        (["optimizer=sgd"], "optimizer.lr", None),
        (["optimizer=sgd", "lr=0.5"], "optimizer.lr", None),
        (["optimizer=sgd", "lr=1"], "optimizer.lr", None),
        (["optimizer=sgd", "optimizer.lr=0.5"], "optimizer.lr", 0.5),
        (["schedule=one_cycle"], "schedule.max_lr", None),
        (["schedule=one_cycle", "schedule.max_lr=3"], "schedule.max_lr", 3),
        (["schedule=one_cycle"], "schedule.epochs", None),
        (["schedule=cosine"], "schedule.T_max", None),
        (["schedule=cosine", "schedule.T_max=99"], "schedule.T_max", 99),
        (["optimizer=momentum"], "optimizer.momentum", 0.9),
    ],
)
def test_an_argument_is_shown_unless_it_repeats_a_top_level_value(
    overrides: list[str], name: str, value: Any
) -> None:
    assert composed(*overrides).params().get(name) == value


# What decides the result.


def fingerprint(*overrides: str, digest: str = DIGEST) -> str:
    return composed(*overrides).fingerprint(digest)


@pytest.mark.parametrize(
    "override",
    [
        "threads=3",
        "~dataset.augment",
        "select=last",
        "patience=null",
        "data_dir=/elsewhere",
        "tracking.uri=http://tracking:5000",
        "tracking.experiment=other",
        "figures=all",
        "log_every=7",
        "+dataset.path=/pictures",
        "+dataset.mirror=http://mirror",
        "preset=none",
        "lr=0.001",
        "optimizer.lr=1e-3",
    ],
)
def test_what_does_not_decide_the_result_leaves_the_fingerprint(override: str) -> None:
    assert fingerprint(override) == fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        "lr=0.1",
        "batch_size=65",
        "epochs=11",
        "seed=1",
        "device=cuda",
        "val_fraction=0.2",
        "precision=bf16",
        "evaluate_first=true",
        "select=best",
        "patience=5",
        "dataset.shuffle=false",
        "dataset.limit=100",
        "dataset.resize=16",
        "dataset.normalize=true",
        "dataset.augment=flip",
        "model.hidden=[512]",
        "model=softmax",
        "optimizer=adam",
        "optimizer=momentum",
        "optimizer.lr=0.1",
        "optimizer.weight_decay=0.1",
        "loss=mse",
        "loss.label_smoothing=0.1",
        "schedule=cosine",
    ],
)
def test_what_decides_the_result_changes_the_fingerprint(override: str) -> None:
    assert fingerprint(override) != fingerprint()


def test_what_selects_and_ends_is_a_param_where_it_was_chosen() -> None:
    assert not {"select", "patience"} & composed().params().keys()
    params = composed("select=best", "patience=3").params()
    assert (params["select"], params["patience"]) == ("best", 3)


def test_the_fingerprint_is_a_hash_of_the_dataset_s_digest_too() -> None:
    assert fingerprint(digest="a") != fingerprint(digest="b")
    assert len(fingerprint()) == 32 and int(fingerprint(), 16)


def test_the_device_s_kind_counts_and_its_index_does_not() -> None:
    assert (
        fingerprint("device=cuda:1") == fingerprint("device=cuda:0") == fingerprint("device=cuda")
    )
    assert fingerprint("device=cuda") != fingerprint("device=cpu")


def test_an_option_is_known_by_what_it_does_and_not_by_its_name() -> None:
    base = composed("optimizer=momentum")
    assert base.fingerprint(DIGEST) == fingerprint("optimizer=sgd", "optimizer.momentum=0.9")
    renamed = replace(base, optimizer=replace(base.optimizer, name="mine"))
    assert renamed.fingerprint(DIGEST) == base.fingerprint(DIGEST)
    preset = composed("preset=quickstart")
    assert preset.fingerprint(DIGEST) == fingerprint("optimizer=adam")


def test_a_whole_number_is_the_same_rate_however_it_is_typed() -> None:
    assert fingerprint("lr=1") == fingerprint("lr=1.0")


Free = st.fixed_dictionaries(
    {},
    optional={
        "threads": st.none() | st.integers(1, 64),
        "figures": st.sampled_from(["none", "best", "all"]),
        "log_every": st.integers(1, 10**6),
        "data_dir": st.text(min_size=1).filter(str.strip).map(Path),
        "tracking_uri": st.text(),
        "experiment": st.text(),
        "preset": st.none() | st.text(),
    },
)
Deciding: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.floats(1e-9, 1e3),
    "batch_size": st.integers(1, 10**6),
    "epochs": st.integers(1, 10**6),
    "seed": st.integers(0, 2**63 - 1),
    "val_fraction": st.floats(0, 0.99),
    "precision": st.sampled_from(["fp32", "tf32", "bf16"]),
    "device": st.sampled_from(["auto", "cpu", "cuda", "mps"]),
    "evaluate_first": st.booleans(),
    "select": st.sampled_from(["last", "best"]),
    "patience": st.none() | st.integers(1, 10**6),
}


@examples(deadline=None)
@given(values=st.fixed_dictionaries({}, optional=Deciding), one=Free, other=Free)
def test_no_combination_of_what_is_free_moves_the_fingerprint(
    values: dict[str, Any], one: dict[str, Any], other: dict[str, Any]
) -> None:
    base = replace(composed(), **values)
    prints = {replace(base, **free).fingerprint(DIGEST) for free in (one, other, {})}
    assert len(prints) == 1


@examples(deadline=None)
@given(
    one=st.fixed_dictionaries(Deciding),
    other=st.fixed_dictionaries(Deciding),
    digests=st.tuples(st.sampled_from("ab"), st.sampled_from("ab")),
)
def test_fingerprints_are_equal_exactly_where_what_decides_is(
    one: dict[str, Any], other: dict[str, Any], digests: tuple[str, str]
) -> None:
    prints = [
        replace(composed(), **values).fingerprint(digest)
        for values, digest in zip((one, other), digests, strict=True)
    ]
    assert (prints[0] == prints[1]) == ((one, digests[0]) == (other, digests[1]))


@examples(deadline=None)
@given(
    group=st.sampled_from(GROUPS),
    arguments=st.lists(
        st.dictionaries(
            st.text(max_size=3),
            st.booleans() | st.integers() | st.floats(0, 1) | st.lists(st.integers(), max_size=2),
            max_size=3,
        ),
        min_size=2,
        max_size=2,
    ),
)
def test_any_argument_of_any_option_counts(group: str, arguments: list[dict[str, Any]]) -> None:
    def printed(own: dict[str, Any]) -> str:
        changes: dict[str, Any] = {group: Option("x", "a.b", own)}
        return replace(composed(), **changes).fingerprint(DIGEST)

    prints = [printed(own) for own in arguments]
    if prints[0] == prints[1]:
        assert arguments[0] == arguments[1]
    assert printed(dict(reversed(arguments[0].items()))) == prints[0], "in any order"


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda config: config.pop("tracking"), id="removed"),
        pytest.param(lambda config: config.update(tracking=None), id="null"),
        pytest.param(lambda config: config.update(tracking="a"), id="a-text"),
        pytest.param(lambda config: config["tracking"].pop("uri"), id="without-uri"),
        pytest.param(lambda config: config["tracking"].update(url="a"), id="misspelt"),
    ],
)
def test_tracking_is_checked_like_everything_else(
    break_it: Callable[[dict[str, Any]], object],
) -> None:
    config = deepcopy(CONFIG)
    break_it(config)
    with pytest.raises(SettingsError, match="tracking"):
        Settings.from_config(config, CHOICES)
