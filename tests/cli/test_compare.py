"""`pushforward compare`: its output, its JSON file, and the suggested `fit` command."""

import json
from pathlib import Path

import numpy as np
import pytest

from pushforward.tabular.files import write_table

TINY = ("--flows", "nice,nice+mixture", "--folds", "1", "--epochs", "1", "--layers", "2", "--width", "8")


def clusters(n=150):
    random = np.random.default_rng(0)
    side = random.choice([-4.0, 4.0], n)
    return np.stack([side + random.normal(size=n), random.normal(size=n) - side, random.normal(size=n)], 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "two.csv"
    write_table(path, clusters(), ("a", "b", "c"))
    return path


def test_comparison_prints_and_writes_the_board(command, table):
    result = command("compare", table, *TINY, "-o", "board.json")
    assert result.code == 0, result.err
    for message in (
        "Gaussian mixture",
        "Kernel density",
        "nice+mixture*",
        "better of Gaussian and mixture",
        "peak",
        "--flow nice --base mixture",
    ):
        assert message in result.out, (message, result.out)
    board = json.loads(Path("board.json").read_text())
    assert board["chosen"] == "nice+mixture"
    assert len(board["entries"]) == 5
    assert board["plan"]["columns"][0]["name"] == "a"


@pytest.mark.slow
def test_comparison_with_a_context_prints_json(command, table):
    result = command("compare", table, "--context", "c", "--column", "a=heavy", *TINY, "--json")
    assert result.code == 0, result.err
    assert {entry["name"] for entry in result.json["entries"]} == {
        "nice", "nice+mixture", "Gaussian", "Gaussian mixture", "Kernel density",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "messages"),
    [
        (("--flows", "nfs"), 1, ("two.csv", "'nfs'", "nsf")),
        (("--folds", "0"), 2, ("--folds", "0")),
        (("--folds", "99"), 1, ("two.csv", "150 rows", "99")),
        (("--column", "a"), 2, ("--column", "'a'")),
        (("--column", "z=positive"), 1, ("two.csv", "'z'")),
        (("--column", "a=positive"), 1, ("two.csv", "'a'", "above 0")),
        (("-o", "nowhere/board.json"), 1, ("nowhere",)),
    ],
)
def test_invalid_comparisons_are_refused(command, table, options, code, messages):
    result = command("compare", table, *options)
    assert result.code == code
    assert result.err.count("\n") == 1
    for message in messages:
        assert message in result.err, (message, result.err)
