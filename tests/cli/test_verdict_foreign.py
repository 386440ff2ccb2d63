"""`experiments/verdict.py store=` for real: scikit-learn's own logging, and a tracking server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.rows import Row
from support.command import ROOT, ended, run
from support.foreign import Foreign, bare
from support.servers import TrackingServer

# Trees on a part of digits, as one would write it: each fit is a run, a grid search one with others
# nested below. Of the tests' scores, autologging takes the name of the variable along.
SKLEARN = """
import sys
import mlflow
from sklearn import metrics
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.tree import DecisionTreeClassifier

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("trees")
mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X[:600], y[:600], random_state=0)
for criterion in ("gini", "entropy"):
    for splitter in ("best", "random"):
        for seed in range(3):
            with mlflow.start_run():
                tree = DecisionTreeClassifier(
                    criterion=criterion, splitter=splitter, random_state=seed
                ).fit(X_train, y_train)
                metrics.accuracy_score(y_test, tree.predict(X_test))
GridSearchCV(DecisionTreeClassifier(random_state=0), {"criterion": ["gini", "entropy"]}, cv=2).fit(
    X_train, y_train
)
"""


@pytest.mark.long
def test_runs_that_scikit_learn_logged_are_judged_as_a_table_is(
    project: Path, tmp_path: Path
) -> None:
    made = Foreign(tmp_path / "theirs", "trees")
    script = [sys.executable, "-c", SKLEARN, made.uri]
    done = ended(script, tmp_path)
    assert done.returncode == 0, done.stderr
    where = [f"store={made.uri}", "experiment=trees"]
    proposed = run(project, *where, script="experiments/verdict.py")
    assert (proposed.returncode, proposed.stderr) == (2, "")
    line = proposed.stdout.splitlines()[-1]
    score = "accuracy_score_X_test"
    assert line.endswith(
        "candidate=params.criterion configuration=params.splitter seed=params.random_state "
        f"score=metrics.{score}"
    )
    done = run(project, *line.split()[2:], script="experiments/verdict.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 runs nested in a group of which none has the score" in done.stdout
    rows = [
        Row(
            candidate=each.data.params["criterion"],
            seed=each.data.params["random_state"],
            score=each.data.metrics[score],
            configuration=f"splitter={each.data.params['splitter']}",
        )
        for each in reversed(made.client.search_runs([made.id]))
        if score in each.data.metrics
    ]
    assert len(rows) == 12
    folder = project / "outputs" / "verdicts" / "trees"
    content = json.loads((folder / "verdict.json").read_text())
    answer = judge_table(rows)
    (expected,) = answer.workloads
    (found,) = content["workloads"]
    assert [each["name"] for each in found["candidates"]] == [
        each.name for each in expected.candidates
    ]
    assert [each["score"]["mean"] for each in found["candidates"]] == [
        each.score.mean for each in expected.candidates if each.score
    ]
    assert [(each["outcome"], each["p"]) for each in found["comparisons"]] == [
        (each.outcome, each.p) for each in expected.comparisons
    ]
    assert done.stdout.endswith(f"report   {folder / 'report.html'}\n")


@pytest.mark.long
def test_runs_on_a_server_are_judged_as_those_in_its_database(tmp_path: Path) -> None:
    made = bare(tmp_path / "theirs")
    keys = [
        "candidate=params.optimizer",
        "configuration=params.lr",
        "seed=params.seed",
        "score=metrics.acc",
        "chosen_by=metrics.val",
        "phase=tags.phase",
        "at=max",
    ]
    server = TrackingServer(tmp_path / "server", made.uri).start()
    said = []
    try:
        for place, uri in (("one", made.uri), ("two", server.uri)):
            where = [f"store={uri}", f"experiment={made.name}", f"out={tmp_path / place}"]
            done = run(ROOT, *where, *keys, script="experiments/verdict.py")
            assert (done.returncode, done.stderr) == (0, "")
            said.append((tmp_path / place / "verdict.json").read_text())
    finally:
        server.stop()
    assert said[0] == said[1]


def test_a_verdict_on_a_table_imports_nothing_of_a_store(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("candidate,seed,score\na,0,0.9\nb,0,0.8\n")
    program = (
        "import sys; from optsweep.cli.commands import verdict; "
        f"assert verdict.main(['table={path}', 'decided=true']) == 3; "
        "heavy = {'torch', 'mlflow', 'hydra', 'pandas', 'matplotlib', 'jinja2', 'sqlalchemy'}; "
        "assert not heavy & sys.modules.keys(); "
        "assert 'optsweep.cli.commands.verdict_store' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)
