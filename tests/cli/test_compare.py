"""`pushforward compare`: what it prints, what it keeps, and that its choice is the one that `fit` is told to make."""

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


def test_a_comparison(command, table):
    said = command("compare", table, *TINY, "-o", "board.json")
    assert said.code == 0, said.err
    for word in (
        "Gaussian mixture",
        "Kernel density",
        "nice+mixture*",
        "better of Gaussian and mixture",
        "peak",
        "--flow nice --base mixture",
    ):
        assert word in said.out, (word, said.out)
    board = json.loads(Path("board.json").read_text())
    assert board["chosen"] == "nice+mixture"
    assert len(board["entries"]) == 5
    assert board["plan"]["columns"][0]["name"] == "a"


def test_a_comparison_for_machines_given_a_context(command, table):
    said = command("compare", table, "--context", "c", "--column", "a=heavy", *TINY, "--json")
    assert said.code == 0, said.err
    assert {entry["name"] for entry in said.json["entries"]} == {
        "nice", "nice+mixture", "Gaussian", "Gaussian mixture", "Kernel density",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "words"),
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
def test_comparisons_that_cannot_be(command, table, options, code, words):
    said = command("compare", table, *options)
    assert said.code == code
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err, (word, said.err)
