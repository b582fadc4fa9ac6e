"""The corpus of bad input (tests/support/corpus) in the command line: exit code, message and files."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpus import cases
from corpus.assertions import listed, refused
from corpus.made import normal_columns

import pushforward as pf
from pushforward.core import float64 as double
from pushforward.tabular.files import read_table


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """MODEL of a, b, c and GIVEN of a, b given c, both untrained."""
    folder = tmp_path_factory.mktemp("models")
    small = {"key": 0, "n_layers": 2, "width": 8}
    notes = {"columns": ["a", "b", "c"]}
    pf.save(folder / "MODEL", pf.nice(dim=3, **small), notes=notes)
    notes = {"columns": ["a", "b"], "context_columns": ["c"]}
    pf.save(folder / "CONDITIONAL", pf.nice(dim=2, context_dim=1, **small), notes=notes)
    return folder


@pytest.fixture
def run(command, models, tmp_path):
    """A function that runs a command of the corpus in a folder with only its file."""

    def call(case, *more):
        if not os.path.lexists(case.file):
            cases.copy_to(case.file, tmp_path)
        paths = {"FILE": case.file, "MODEL": models / "MODEL", "CONDITIONAL": models / "CONDITIONAL"}
        return command(*(paths.get(word, word) for word in case.command.split()), *more)

    return call


@pytest.mark.parametrize("case", cases.REFUSED, ids=[case.name for case in cases.REFUSED])
def test_refused(run, case, tmp_path):
    cases.copy_to(case.file, tmp_path)
    if case.file == "unreadable.csv" and os.access(case.file, os.R_OK):
        pytest.skip("this user may read every file")
    before = listed(tmp_path)
    refused(run(case), case.code, case.file, *case.parts)
    assert listed(tmp_path) == before


def test_all_files_of_the_corpus_have_a_case():
    files = {case.file for case in (*cases.REFUSED, *cases.FITTED, *cases.FITTED_SLOWLY)}
    files |= {*cases.UNUSUAL, *cases.ARRAYS, "good.csv", "decimals.parquet", "constant_changed.csv"}
    assert set(cases.NAMES) == files


def test_unreadable_file_is_refused(command, models, monkeypatch):
    Path("closed.csv").write_text("a,b,c\n1,2,3\n")
    opened = Path.open

    def denied(path, *parts, **options):
        if path.name == "closed.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *parts, **options)

    monkeypatch.setattr(Path, "open", denied)
    messages = ("closed.csv", "cannot be read (Permission denied)", "check its permissions")
    refused(command("score", models / "MODEL", "closed.csv"), 1, *messages)


@pytest.mark.parametrize("name", cases.UNUSUAL)
def test_unusual_formats_give_equal_scores(command, models, name, tmp_path):
    for file in ("good.csv", name):
        cases.copy_to(file, tmp_path)
        result = command("score", models / "MODEL", file, "-o", f"scores_of_{file}.csv")
        assert (result.code, result.err) == (0, "")
        assert "3 rows scored" in result.out
    assert Path(f"scores_of_{name}.csv").read_bytes() == Path("scores_of_good.csv.csv").read_bytes()


@pytest.mark.parametrize("name", cases.ARRAYS)
def test_unusual_arrays_are_scored(command, name, tmp_path):
    pf.save("bare", pf.nice(dim=3, key=0, n_layers=2, width=8))
    cases.copy_to(name, tmp_path)
    before = listed(tmp_path.parent)
    assert command("score", "bare", name, "-o", "s.npy").code == 0
    expected = {"half.npy": normal_columns(n=9, width=3).astype(np.float16), "whole.npy": np.arange(27.0).reshape(9, 3)}
    rows = np.asarray(expected.get(name, normal_columns(n=9, width=3)), np.float64)
    np.testing.assert_array_equal(np.load("s.npy")[:, 0], double.log_prob_float64(pf.load("bare"), rows))
    assert listed(tmp_path.parent) == before  # an archive's "../../x" is not extracted


def test_decimals_are_read_as_numbers(command, models, tmp_path):
    cases.copy_to("decimals.parquet", tmp_path)
    assert command("score", models / "MODEL", "decimals.parquet", "--drop-na", "-o", "s.csv").code == 0
    np.testing.assert_array_equal(read_table("s.csv").values[:, :3], [[1.5] * 3, [2.5] * 3, [3.5] * 3])


@pytest.mark.parametrize("case", cases.FITTED, ids=[case.name for case in cases.FITTED])
def test_fitted_with_a_note(run, case, command, unchecked):
    result = run(case)
    assert result.code == 0, result.err
    for message in case.parts:
        assert message in result.out + result.err, (message, result)
    assert command("score", "m.safetensors", case.file, "-o", "s.npy").code == 0
    assert np.isfinite(np.load("s.npy")).all()


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.FITTED_SLOWLY, ids=[case.name for case in cases.FITTED_SLOWLY])
def test_fitted(run, case, command):
    """As above with the certificate; samples have the columns of the table."""
    test_fitted_with_a_note(run, case, command, None)
    assert command("sample", "m.safetensors", "-n", "20", "-o", "new.csv").code == 0
    assert read_table("new.csv").columns == read_table(case.file).columns


def test_declared_constant_column_works_in_all_commands(command, unchecked, tmp_path):
    for name in ("constant.csv", "constant_other.csv", "constant_changed.csv"):
        cases.copy_to(name, tmp_path)
    options = cases.FIT.replace("FILE", "constant.csv").split()
    result = command(*options, "--column", "b=constant")
    assert result.code == 0
    assert "constant, 3" in result.out
    assert command("score", "m.safetensors", "constant.csv", "-o", "s.npy").code == 0
    assert np.isfinite(np.load("s.npy")).all()
    assert command("sample", "m.safetensors", "-n", "20", "-o", "new.csv").code == 0
    assert (read_table("new.csv", columns=["b"]).values == 3.0).all()
    messages = ("'b' was 3 in every row", "no density", "Leave such rows out")
    refused(command("score", "m.safetensors", "constant_other.csv", "-o", "t.csv"), 1, "got 4 at row 2", *messages)
    for command_name in ("score", "check"):  # dropped rows count too
        refused(
            command(command_name, "m.safetensors", "constant_changed.csv", "--drop-na"), 1, "got 4 at row 3", *messages
        )


@pytest.mark.slow
def test_scores_do_not_depend_on_units(command, unchecked, tmp_path):
    """With units scaled by a factor, each column changes the score by the log of the factor, up to 1e-6."""
    scores = {}
    for name in ("plain.csv", "huge.csv", "tiny.csv", "mixed.csv"):
        cases.copy_to(name, tmp_path)
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        assert command(*cases.FIT.replace("FILE", name).replace("m.safetensors", "out/m").split()).code == 0
        assert command("score", "out/m", name, "-o", "out/s.npy").code == 0
        scores[name] = np.load("out/s.npy")
    step = 12 * np.log(10.0)
    for name, difference in (("huge.csv", -2 * step), ("tiny.csv", 2 * step), ("mixed.csv", 0.0)):
        np.testing.assert_allclose(scores[name], scores["plain.csv"] + difference, atol=1e-6, rtol=0)
