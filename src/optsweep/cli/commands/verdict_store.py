"""Judges the runs of an MLflow experiment that another program wrote, or says how it could."""

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from optsweep.cli.commands.verdict_settings import REFUSED, VerdictSettings
from optsweep.errors import SettingsError
from optsweep.records.logged_run import LoggedRun
from optsweep.records.values import SPLIT_NAMES, printable
from optsweep.system import files
from optsweep.system import project_folder as project
from optsweep.system.redaction import redact
from optsweep.verdict.rows.keys import Keys, sources_of
from optsweep.verdict.rows.logged_rows import Reading, left_out_line, rows_of, unpaired
from optsweep.verdict.rows.metric_names import is_loss, split_of
from optsweep.verdict.rows.proposal import MISSING, propose
from optsweep.verdict.scores.answer import Answer, Workload, as_json
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.outcome_sentences import answer_lines, further_lines, what_next
from optsweep.verdict.scores.phrases import counted, listed
from optsweep.verdict.scores.rows import RowError

_MOST = 20  # problems that are shown


def judge_store(typed: Mapping[str, str], settings: VerdictSettings) -> int:
    """Judges the experiment that the arguments name; returns the exit code.

    Raises:
        OptsweepError: the store, or what is asked of it, cannot be used.
        OSError: the folder for the answer cannot be written.
    """
    has_all = sources_of(typed).keys() >= set(Keys.NEEDED)
    keys = Keys.of(typed) if has_all else None
    if keys:
        _check_directions(keys, typed, settings)

    from optsweep.tracking.foreign_runs import Experiment  # seconds, not before a typing error

    experiment = Experiment.open(typed["store"], typed.get("experiment", ""))
    runs = experiment.runs(typed.get("filter", ""))
    if not runs:
        which = f" that filter={typed['filter']} lets through" if "filter" in typed else ""
        raise SettingsError(f"experiment={typed['experiment']}: it holds no run{which}")
    if keys is None:
        _print(_proposed(runs, typed))
        return REFUSED
    if keys.at != "last":
        runs = experiment.with_best(runs, keys.metrics, highest=keys.at == "max")
    reading = rows_of(runs, keys)
    if not reading.rows and not reading.problems:
        line = left_out_line(reading.left_out)
        raise SettingsError(f"experiment={typed['experiment']}: no run can be judged. {line}")
    answer = _judged(reading, settings)
    if answer is None:
        _print_problems(reading.problems, typed)
        return REFUSED
    _present(answer, reading, keys, typed)
    return settings.exit_code(answer)


def _check_directions(keys: Keys, typed: Mapping[str, str], settings: VerdictSettings) -> None:
    """Makes sure that better is better: of losses, whose names say so, lower is.

    Raises:
        SettingsError: it seems to be the other way round.
    """
    loss = is_loss(keys.score.name)
    if loss and "higher" not in typed:
        raise SettingsError(
            f"score={keys.score} looks like a loss, where lower is better; add higher=false, or "
            "higher=true if more of it is better"
        )
    chosen = is_loss(keys.chosen_by.name) if keys.chosen_by else None
    if chosen is not None and loss is not None and chosen != loss:
        better = "lower" if chosen else "higher"
        raise SettingsError(
            f"chosen_by={keys.chosen_by}: its {better} values are better, and it is the other way "
            f"round of score={keys.score}; type one that is better in the same way, or leave it out"
        )
    worst = "max" if not settings.higher else "min"
    if keys.at == worst:
        best = "min" if worst == "max" else "max"
        raise SettingsError(
            f"at={worst} takes a run's worst value where higher={typed.get('higher', 'true')}; "
            f"type at={best} or at=last"
        )


def _judged(reading: Reading, settings: VerdictSettings) -> Answer | None:
    """The answer; None where there are problems, of which contradictions are the last."""
    if reading.problems:
        return None
    try:
        return judge_table(
            reading.rows, margin=settings.margin, higher=settings.higher, lost=settings.lost
        )
    except RowError as error:
        reading.problems.append(f"wrong: run {reading.runs[error.index]}: {error}")
        return None


def _print(lines: Sequence[str]) -> None:
    print(*map(printable, lines), sep="\n")


def _print_problems(problems: Sequence[str], typed: Mapping[str, str]) -> None:
    what = counted(len(problems), "problem")
    shown = [f"error: experiment={typed['experiment']}: {what}, nothing was judged"]
    shown += problems[:_MOST]
    if len(problems) > _MOST:
        shown.append(f"and {len(problems) - _MOST:,} more")
    shown.append(
        "Log what is missing, delete such runs in MLflow, or leave them out, for example with "
        "filter=\"attributes.run_id NOT IN ('ID', 'ID')\""
    )
    print(*(redact(printable(line)) for line in shown), sep="\n", file=sys.stderr)


def _proposed(runs: Sequence[LoggedRun], typed: Mapping[str, str]) -> list[str]:
    """What the experiment holds, and the line to type."""
    proposal = propose(runs, {key: value for key, value in typed.items() if key in _KEYS})
    others = {key: value for key, value in typed.items() if key not in proposal.keys}
    ends = {key: others.pop(key) for key in list(others) if key not in ("store", "experiment")}
    missing = [key for key, value in proposal.keys.items() if value == MISSING]
    say = f"Nothing was judged. Put in what stands for {MISSING}, and type:"
    return [
        f"Experiment {typed['experiment']}",
        *proposal.found,
        say if missing else "Nothing was judged. If this is what you want to know, type:",
        _line({**others, **proposal.keys, **ends}),
    ]


_KEYS = (*Keys.NAMES, "higher")


def _line(options: Mapping[str, str]) -> str:
    typed = [shlex.quote(f"{key}={redact(value)}") for key, value in options.items()]
    return " ".join([project.command("verdict"), *typed])


def _present(answer: Answer, reading: Reading, keys: Keys, typed: Mapping[str, str]) -> None:
    """Writes the file and the page, and prints what they say."""
    from optsweep.report.verdict_page import VerdictPage, write  # draws: half a second

    folder = _folder(typed)
    confirming = {each.name: _confirming(each, keys) for each in answer.workloads}
    top, said = {}, {}
    judged_on = SPLIT_NAMES.get(split_of(keys.score.name), "test")
    for workload in answer.workloads:
        name = workload.name
        next_one = what_next(answer, workload, confirming[name]) if workload.best else ""
        top[name] = [
            *answer_lines(answer, workload, judged_on=judged_on),
            *filter(None, [next_one]),
        ]
        said[name] = [*top[name], *further_lines(answer, workload)]
    notes = [*_notes(keys), *filter(None, [left_out_line(reading.left_out)])]
    notes += _shortened(unpaired(answer, reading.rows))
    text = json.dumps(as_json(answer, said), indent=1, allow_nan=False, ensure_ascii=False)
    file, page = folder / "verdict.json", folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    files.write(file, text + "\n")
    shown = VerdictPage(
        title=f"Verdict on {typed['experiment']}",
        answer=answer,
        rows=reading.rows,
        top=top,
        said=said,
        notes=notes,
        score=str(keys.score),
        facts={name: redact(value) for name, value in typed.items()},
        command=_line(typed),
    )
    write(shown, page)
    lines = []
    for workload in answer.workloads:
        lines += [f"{workload.name}:"] if len(said) > 1 else []
        lines += said[workload.name]
    _print([*lines, *notes, f"verdict  {file}", f"report   {page}"])


def _folder(typed: Mapping[str, str]) -> Path:
    """Where the answer is written: `out=`, or a folder named for the experiment."""
    name = re.sub(r"[^\w.-]+", "-", typed["experiment"]).strip(".-")[:100] or "experiment"
    usual = project.folder() / "outputs" / "verdicts" / name
    return Path(typed.get("out") or usual).expanduser().absolute()


def _notes(keys: Keys) -> list[str]:
    """What a reader of the scores has to know."""
    if keys.at == "last":
        return []
    best = "highest" if keys.at == "max" else "lowest"
    return [
        f"Each score is the {best} of all steps of {keys.score}: its own data chose the step, so "
        "that scores on test data are too good. at=last takes the last step."
    ]


def _confirming(workload: Workload, keys: Keys) -> str:
    """What to do so that runs judge which did not choose."""
    chose = [each for each in workload.candidates if each.score and not each.is_confirmed]
    named = listed([f"{each.name} {each.chosen}".strip() for each in chose[:6]]) or "each candidate"
    phase = keys.phase or "params.phase"
    add = "" if keys.phase else f", and add phase={phase} to this line"
    return f"run {named} with other seeds, with {phase} = confirm logged{add}."


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more:,} more"] if more > 0 else [])]
