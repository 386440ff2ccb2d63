"""What a run leaves behind to continue from."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.training.checkpoint import (
    UnusableCheckpoint,
    forget_stack,
    forget_stacks,
    path_of,
    restore,
    save,
    save_stack_paths,
    set_aside,
    stack_of,
)
from optsweep.training.epoch_journal import Entry, Journal
from optsweep.training.stack import Stack
from support.training import constant, make_dataset, make_stack, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.bin"


def test_a_restored_run_continues_bit_for_bit(path: Path) -> None:
    whole = run(make_stack(), make_dataset(), epochs=range(1, 5))
    first = make_stack()
    run(first, make_dataset(), epochs=range(1, 3))
    save(path, first, 2, ["abc"])

    other = make_stack(seed=7)
    assert restore(path, other, ["abc"]) == 2
    rest = run(other, make_dataset(), epochs=range(3, 5))
    # The stack's seed decides the batches; only the weights came from the file.
    assert whole[2].metrics["train/loss"] != rest[0].metrics["train/loss"]
    again = make_stack()
    restore(path, again, ["abc"])
    rest = run(again, make_dataset(), epochs=range(3, 5))
    assert [e.metrics["test/loss"].item() for e in whole[2:]] == [
        e.metrics["test/loss"].item() for e in rest
    ]


def test_no_checkpoint_is_distinguished_from_an_unusable_one(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        restore(path, make_stack(), ["abc"])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "torn"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "torn"),
        (lambda content: b"", "no checkpoint"),
        (lambda content: b"something else", "no checkpoint"),
        (lambda content: content.replace(b"checkpoint 2", b"checkpoint 1", 1), "format"),
    ],
    ids=["half", "one bit", "empty", "foreign", "older format"],
)
def test_an_unusable_checkpoint_says_why(
    path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    save(path, make_stack(), 1, ["abc"])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UnusableCheckpoint, match=reason):
        restore(path, make_stack(), ["abc"])
    aside = set_aside(path)
    assert aside.exists()
    assert not path.exists()


def test_another_runs_checkpoint_is_refused(path: Path) -> None:
    save(path, make_stack(), 1, ["abc"])
    with pytest.raises(UnusableCheckpoint, match="other settings"):
        restore(path, make_stack(), ["abd"])


def test_a_checkpoint_replaces_the_last_one_whole(path: Path) -> None:
    for epoch in (1, 2):
        save(path, make_stack(), epoch, ["abc"])
    assert restore(path, make_stack(), ["abc"]) == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    assert journal.last == -1
    entries = [
        Entry(epoch, 1000 + epoch, {"train/loss": 0.1 * epoch}, {64: 0.5}) for epoch in (1, 2)
    ]
    assert [journal.keep(entry) for entry in entries] == [(entry, True) for entry in entries]
    again = Journal(tmp_path / "history.jsonl")
    assert again.entries == entries
    assert again.last == 2


def test_an_epoch_trained_again_keeps_its_first_entry(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    first = Entry(1, 1000, {"train/loss": 0.5})
    journal.keep(first)
    assert journal.keep(Entry(1, 2000, {"train/loss": 0.5})) == (first, False)
    assert Journal(tmp_path / "history.jsonl").entries == [first]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 400))
def test_a_journal_torn_anywhere_keeps_the_whole_lines_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "history.jsonl"
    journal = Journal(path)
    for epoch in (1, 2, 3):
        journal.keep(Entry(epoch, epoch, {"train/loss": float("nan"), "test/loss": 1.0}))
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    torn = Journal(path)
    assert len(torn.entries) == min(3, content[:cut].count(b"\n")) or content[:cut].endswith(b"}")
    torn.keep(Entry(9, 9, {"train/loss": 1.0}))
    assert [entry.epoch for entry in Journal(path).entries] == [
        *(entry.epoch for entry in torn.entries)
    ]


def test_a_stack_that_ends_leaves_space_for_one_that_is_about_to_save(tmp_path: Path) -> None:
    def folders(name: str) -> list[Path]:
        made = [tmp_path / f"{name}{number}" for number in range(2)]
        for folder in made:
            folder.mkdir()
        return made

    ending, beginning = folders("a"), folders("b")
    first, second = path_of(ending, ["a", "b"]), path_of(beginning, ["c", "d"])
    save_stack_paths(first, ending, ["a", "b"])
    save(first, make_stack(), 1, ["a"])
    save_stack_paths(second, beginning, ["c", "d"])
    forget_stack(first)
    save(second, make_stack(), 1, ["c"])
    assert stack_of(beginning[0], "c") == second
    forget_stacks(tmp_path, finished=False)
    assert second.exists() and not first.exists()
    forget_stack(second)
    forget_stacks(tmp_path, finished=False)
    assert not second.parent.exists()
    save_stack_paths(first, ending, ["a", "b"])
    save(first, make_stack(), 1, ["a"])
    forget_stacks(tmp_path, finished=True)
    assert not first.parent.exists()


def test_a_run_whose_stack_is_not_saved_yet_is_found_by_the_files_of_the_others(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    stack = path_of(folders, list("abc"))
    save_stack_paths(stack, folders, list("abc"))
    for cut in range(len((folders[1] / "stack.txt").read_bytes())):
        save_stack_paths(stack, folders, list("abc"))
        os.truncate(folders[1] / "stack.txt", cut)
        assert stack_of(folders[1], "b") == stack
        assert stack_of(folders[0], "a") == stack


def stack_with(kind: Any) -> Stack:
    stack = make_stack()
    optimizer = kind(stack.model.parameters(), lr=0.01)
    return replace(stack, optimizers=[optimizer], schedules=[constant(optimizer)])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_the_optimizers_state_is_restored(path: Path, kind: type[torch.optim.Optimizer]) -> None:
    expected = run(stack_with(kind), make_dataset(), epochs=range(1, 5))[-1]
    first = stack_with(kind)
    run(first, make_dataset(), epochs=range(1, 3))
    save(path, first, 2, ["abc"])
    second = stack_with(kind)
    restore(path, second, ["abc"])
    got = run(second, make_dataset(), epochs=range(3, 5))[-1]
    assert got.metrics["test/loss"].item() == expected.metrics["test/loss"].item()


def test_weights_that_are_kept_are_saved_beside_the_last_ones(path: Path) -> None:
    stack = make_stack()
    stack.keep(0, 1)
    save(path, stack, 1, ["abc"])
    small = path.stat().st_size
    run(stack, make_dataset(), epochs=range(2, 4))
    save(path, stack, 3, ["abc"])
    weights = sum(tensor.numel() for tensor in stack.weights_of(0).values()) * 4
    assert small + weights <= path.stat().st_size < small + weights + 3000  # the names of four
    again = make_stack(seed=7)
    assert restore(path, again, ["abc"]) == 3
    again.put_back()
    assert again.kept[0][0] == 1
    for name, tensor in make_stack().weights_of(0).items():
        assert torch.equal(again.weights_of(0)[name], tensor)


def test_weights_that_are_kept_and_are_the_last_ones_are_saved_once(path: Path) -> None:
    stack = make_stack()
    save(path, stack, 2, ["abc"])
    size = path.stat().st_size
    stack.keep(0, 2)
    save(path, stack, 2, ["abc"])
    assert path.stat().st_size < size + 200
    again = make_stack(seed=7)
    restore(path, again, ["abc"])
    kept_after, weights = again.kept[0]
    assert kept_after == 2
    assert all(torch.equal(own, weights[name]) for name, own in stack.weights_of(0).items())
