"""Wrong usage other than bad data (tests/support/corpus): one message, an exit code other than 0, no file."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from corpus.assertions import refused
from small import AFFINE, rows

import pushforward as pf
from pushforward.cli.outputs import TABLE_SUFFIXES, check_table_output
from pushforward.errors import TableError
from pushforward.tabular.files import write_table


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("fit",), ("Missing argument", "fit --help")),
        (("fit", "data.csv", "--colums", "a"), ("--colums", "--columns")),
        (("fit", "data.csv", "--epochs", "0"), ("--epochs", "0")),
        (("fit", "data.csv", "--epochs", "many"), ("--epochs", "many")),
        (("fit", "data.csv", "--learning-rate", "-1"), ("--learning-rate", "-1")),
        (("fit", "data.csv", "--flow", "nfs"), ("--flow", "'nfs'", "nsf")),
        (("fit", "data.csv", "--seed", "-1"), ("--seed", "-1")),
        (("fly",), ("'fly'",)),
        (("sample", "m.safetensors", "-n", "0"), ("-n", "0")),
    ],
)
def test_wrong_usage_is_refused(command, arguments, messages):
    refused(command(*arguments), 2, *messages)


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        (None, ("--given", "c=NUMBER")),
        ("d=1", ("'d=1'", "c")),
        ("c=high", ("'c=high'", "NUMBER")),
        ("c=nan", ("'c=nan'", "NUMBER")),
        ("c=1,c=2", ("twice",)),
    ],
)
def test_wrong_context_is_refused(command, conditional, given, messages):
    refused(command("sample", conditional, *(() if given is None else ("--given", given))), 2, *messages)
    assert not Path("samples.csv").exists()


def test_context_is_refused_without_context_columns(command, model):
    refused(command("sample", model, "--given", "c=1"), 2, "'c=1'", "no context")


def test_existing_output_is_refused_before_the_work(command, model, table):
    for name in ("model.safetensors", "report.html", "scores.csv", "samples.csv"):
        Path(name).write_text("mine")
    missing = "no-such-file.csv"  # reported only if the outputs are accepted
    refused(command("fit", missing), 1, "model.safetensors", "exists", "--overwrite")
    refused(command("fit", missing, "-o", "m", "--report", "report.html"), 1, "report.html", "--overwrite")
    refused(command("score", model, missing), 1, "scores.csv", "--overwrite")
    refused(command("sample", missing), 1, "samples.csv", "--overwrite")
    assert {Path(name).read_text() for name in ("model.safetensors", "scores.csv", "samples.csv")} == {"mine"}
    assert command("sample", model, "-n", "2", "--overwrite").code == 0
    assert Path("samples.csv").read_text().startswith("a,b,c\n")


@pytest.mark.parametrize("name", ["nowhere/m.safetensors", "."])
def test_output_without_a_folder_is_refused(command, table, name):
    refused(command("fit", table, "-o", name), 1, "folder")


def test_output_equal_to_the_input_is_refused(command, table, model):
    refused(command("fit", table, "-o", table, "--overwrite"), 1, "data.csv", "used twice")
    refused(command("fit", table, "-o", "x", "--report", "x"), 1, "used twice")
    refused(command("score", model, table, "-o", model, "--overwrite"), 1, "suffix")
    refused(command("score", model, table, "-o", table, "--overwrite"), 1, "used twice")


def test_unknown_format_is_refused_before_the_work(command, model):
    refused(command("sample", model, "-o", "new.xlsx"), 1, "new.xlsx", "'.xlsx'", ".csv")
    refused(command("score", "no-such-model", "no-such-file.csv", "-o", "s.txt"), 1, "s.txt", ".csv")


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_accepted_formats_can_be_written(suffix, tmp_path):
    path = tmp_path / f"t{suffix}"
    check_table_output(path)
    write_table(path, np.ones((1, 1)), ("a",))
    assert path.exists()


def test_refused_formats_cannot_be_written(tmp_path):
    with pytest.raises(TableError) as error:
        write_table(tmp_path / "t.xlsx", np.ones((1, 1)), ("a",))
    assert set(TABLE_SUFFIXES) == {suffix.strip(" .") and "." + suffix.strip(" .") for suffix in
                                   str(error.value).split("one of ")[1].split(",")}  # fmt: skip


@pytest.mark.parametrize("command_name", ["show", "check", "sample", "score"])
def test_missing_model_is_refused(command, table, command_name):
    refused(
        command(command_name, "none.safetensors", *((table,) if command_name == "score" else ())), 1, "none.safetensors"
    )


def test_file_that_is_not_a_model_is_refused(command, table):
    Path("junk.safetensors").write_bytes(b"\x00" * 7 + b"junk")
    refused(command("show", "junk.safetensors"), 1, "junk.safetensors")
    refused(command("sample", table), 1, "data.csv")


def test_damaged_model_is_refused(command, model):
    content = bytearray(model.read_bytes())
    content[-100] ^= 1
    Path("cut.safetensors").write_bytes(content)
    refused(command("score", "cut.safetensors", "data.csv"), 1, "cut.safetensors")


@pytest.mark.parametrize("notes", [{"columns": ["a"]}, {"columns": [1, 2]}, {"columns": "ab"}])
def test_notes_that_do_not_fit_the_model_are_refused(command, notes):
    pf.save("odd.safetensors", pf.nice(dim=2, key=0, n_layers=2, width=8), notes=notes)
    refused(command("show", "odd.safetensors"), 1, "odd.safetensors", "columns", "2 names")


def test_model_without_notes_has_numbered_columns(command):
    pf.save("bare.safetensors", pf.nice(dim=2, key=0, n_layers=2, width=8))
    assert command("sample", "bare.safetensors", "-n", "1", "-o", "s.csv").code == 0
    assert Path("s.csv").read_text().startswith("x0,x1\n")


@pytest.mark.parametrize("command_name", ["score", "check"])
def test_a_missing_column_of_a_model_without_names_is_explained(command, table, command_name):
    pf.save("bare.safetensors", pf.nice(dim=2, key=0, n_layers=2, width=8))
    advice = ("no column 'x0'", "without names", "name them x0, x1 in the file", "notes=")
    refused(command(command_name, "bare.safetensors", table), 1, *advice)
    pf.save("named.safetensors", pf.nice(dim=2, key=0, n_layers=2, width=8), notes={"columns": ["a", "q"]})
    result = command(command_name, "named.safetensors", table)
    assert (result.code, "no column 'q'" in result.err, "without names" in result.err) == (1, True, False)


def test_notes_cannot_control_the_terminal(command):
    notes = {"columns": ["a\x1b[2J", "b"], "remark": "\x1b]0;title\x07"}
    pf.save("odd.safetensors", pf.nice(dim=2, key=0, n_layers=2, width=8), notes=notes)
    result = command("show", "odd.safetensors")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "\\x1b" in result.out


def test_debug_shows_the_traceback(command):
    with pytest.raises(TableError, match=r"none\.csv"):
        command("fit", "none.csv", "--debug")


def test_internal_error_asks_for_a_report(command, model, monkeypatch):
    from pushforward.cli import model_file

    def broken(path, **options):
        raise KeyError("left out")

    monkeypatch.setattr(model_file, "load_model", broken)
    refused(command("show", model), 1, "KeyError", "left out", "--debug", "report")


def test_interruption_is_a_failure(command, model, monkeypatch):
    from pushforward.cli import model_file

    def interrupted(path, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_file, "load_model", interrupted)
    refused(command("show", model), 1, "interrupted")


def test_dropped_interruption_is_raised_again(command, model, monkeypatch):
    """As in a callback of the compiler, where exceptions are dropped."""
    from pushforward.cli import model_file

    class Callback:
        def __del__(self):
            raise KeyboardInterrupt

    def compiled(path, **options):
        Callback()
        time.sleep(20)
        raise AssertionError

    monkeypatch.setattr(model_file, "load_model", compiled)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
    try:
        refused(command("show", model), 1, "interrupted")
    finally:
        signal.signal(signal.SIGINT, before)


def test_kind_of_a_context_column_is_refused(command, table):
    refused(command("fit", table, "--context", "c", "--column", "c=heavy", *AFFINE), 1, "'c' is a context", "no kind")
    refused(command("compare", table, "--context", "c", "--column", "c=heavy"), 1, "'c' is a context", "no kind")


@pytest.mark.usefixtures("unchecked")
def test_names_that_tables_cannot_store_are_refused(command, tmp_path):
    import polars as pl

    values = rows(30)
    for name in ("b ", " b", "b\n"):
        pl.DataFrame({"a": values[:, 0], name: values[:, 1]}).write_parquet("t.parquet")
        refused(command("fit", "t.parquet", *AFFINE), 1, repr(name), "rename")
    pl.DataFrame({"a": values[:, 0], " ": values[:, 1]}).write_parquet("t.parquet")
    refused(command("fit", "t.parquet", *AFFINE), 1, "column 2 has no name")
    assert command("fit", "t.parquet", "--columns", "a", *AFFINE).code == 0


def test_empty_tables_and_selections_are_refused(command, table):
    import polars as pl

    pl.DataFrame({}).write_parquet("t.parquet")
    refused(command("fit", "t.parquet", *AFFINE), 1, "t.parquet", "no columns")
    refused(command("fit", table, "--columns", "", *AFFINE), 1, "no column is selected", "'a', 'b', 'c'")


def test_fit_interrupted_before_the_first_epoch_writes_nothing(command, table, monkeypatch, tmp_path):
    from pushforward.tabular import schema as columns
    from pushforward.train import History

    history = History(stop_reason="interrupted")
    monkeypatch.setattr(columns, "fit_columns", lambda *parts, **options: (None, history))
    refused(command("fit", table, "--quiet", *AFFINE), 1, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_error_while_writing_leaves_no_file(command, model, monkeypatch, tmp_path):
    import os

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(command("sample", model, "-n", "2", "--quiet"), 1, "samples.csv", "No space left")
    assert list(tmp_path.iterdir()) == []


def test_infinite_samples_are_refused(command, model, monkeypatch, tmp_path):
    from pushforward.core.distribution import AbstractDistribution

    monkeypatch.setattr(AbstractDistribution, "sample", lambda self, n, **options: np.full((n, 3), np.inf))
    refused(command("sample", model, "-n", "2"), 1, "2 of 2 samples are infinite")
    assert list(tmp_path.iterdir()) == []
