"""`--groups` and `--split` of `fit` and `compare`: the test rows, and the output about them."""

import json
from pathlib import Path

import numpy as np
import pytest
from small import TINY

from pushforward.cli.table_split import read_split
from pushforward.persistence import read_notes

N = 400
QUICK = ("--flow", "nice", *TINY)


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Forty patients, ten visits each at whole days; one visit has no patient."""
    random = np.random.default_rng(0)
    day = random.permutation(N) // 2
    lines = ["patient,day,a,b"]
    for row in range(N):
        a, b = random.normal(size=2)
        who = "" if row == 5 else f"p{row % 40}"
        lines.append(f"{who},{np.datetime64('2024-01-01') + int(day[row])},{a},{b}")
    path = tmp_path_factory.mktemp("visits") / "visits.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_groups_are_not_split_and_not_modelled(visits):
    split = read_split(visits, ["a", "b"], None, True, 0, groups="patient")
    who = np.loadtxt(visits, str, delimiter=",", skiprows=1)[:, 0]
    train = np.setdiff1d(np.arange(1, N + 1), [*split.test_rows, 6])
    assert not set(who[split.test_rows - 1]) & set(who[train - 1])
    assert len(split.test) == pytest.approx(N / 10, abs=5)
    assert (split.n_rows, split.rule) == (
        N - 1,
        f"{100 * len(split.test) / (N - 1):.3g} % of rows, by group of patient",
    )
    assert len(np.unique(split.fit_arguments()["groups"])) == 40 - len(set(who[split.test_rows - 1]))


def test_time_takes_the_latest_rows_for_test_and_validation(visits):
    split = read_split(visits, ["a", "b"], None, False, 0, time="day")
    days = np.loadtxt(visits, str, delimiter=",", skiprows=1)[:, 1]
    values = np.genfromtxt(visits, delimiter=",", skip_header=1)[:, 2:]
    assert set(days[split.test_rows - 1]) == set(np.unique(days)[-20:])
    assert split.rule == "the latest 10 % of rows, by day"
    arguments = split.fit_arguments()
    latest = values[np.isin(days, np.unique(days)[-38:-20])]
    assert sorted(arguments["validation"][0].tolist()) == sorted(latest.tolist())
    assert len(arguments["x"]) == N - 40 - 36


@pytest.mark.usefixtures("unchecked")
def test_fit_reports_the_split_by_groups(command, visits):
    result = command("fit", visits, "--groups", "patient", "--context", "day", *QUICK)
    assert (result.code, "looks like a date" in result.err) == (1, True)  # a context is read as numbers
    result = command("fit", visits, "--groups", "patient", "--columns", "a,b", *QUICK)
    assert result.code == 1
    assert "row 6, column 'patient' is missing, the first of 1 rows" in result.err
    result = command(
        "fit", visits, "--groups", "patient", "--columns", "a,b", "--drop-na", "--report", "r.html", *QUICK
    )
    assert result.code == 0, result.err
    assert "by group of patient)" in result.out
    notes = read_notes("model.safetensors")
    assert notes["columns"] == ["a", "b"]
    assert notes["split"].endswith("% of rows, by group of patient")
    assert "by group of patient" in Path("r.html").read_text()


def test_compare_reports_the_split_by_time(command, visits):
    quick = ("--columns", "a,b", "--flows", "nice", *TINY)
    result = command("compare", visits, "--split", "time:day", *quick, "-o", "board.json")
    assert result.code == 0, result.err
    assert "the latest fifth is the test, by day" in result.out
    assert "--split time:day" in result.out
    board = json.loads(Path("board.json").read_text())
    assert (board["folds"], board["split"]) == (1, "the latest fifth is the test, by day")


@pytest.mark.parametrize(
    ("options", "code", "messages"),
    [
        (("--groups", "patent"), 1, ("no column 'patent'", "'patient'")),
        (("--groups", "patient", "--split", "time:day"), 2, ("--split", "got both")),
        (("--split", "day"), 2, ("time:COLUMN", "'day'")),
        (("--split", "time:patient", "--columns", "a", "--drop-na"), 1, ("column 'patient'", "ISO 8601", "at row 1")),
    ],
)
def test_invalid_splits_are_refused(command, visits, options, code, messages):
    result = command("fit", visits, *options)
    assert result.code == code
    for message in messages:
        assert message in result.err, (message, result.err)


@pytest.mark.usefixtures("unchecked")
def test_scores_of_test_rows_without_copies(command):
    x = np.repeat(np.random.default_rng(0).normal(size=(120, 2)), [1] * 60 + [5] * 60, axis=0)
    Path("twice.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in x) + "\n")
    result = command("fit", "twice.csv", "--report", "r.html", *QUICK)
    assert result.code == 0
    notes = read_notes("model.safetensors")
    n_copies = notes["held_out_copies"]
    assert 0 < n_copies < 36
    assert f"{n_copies} of the 36 test rows equal a training row; the other {36 - n_copies} have" in result.out
    assert notes["held_out_nats_without_copies"] != notes["held_out_nats"]
    assert notes["validation_copies"] > 0
    page = Path("r.html").read_text()
    assert "Without copies of training rows" in page
    assert f"{notes['validation_copies']} of the 32 validation rows equal a training row" in page
