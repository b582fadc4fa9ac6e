"""Statements of the commands: gains with errors, repeated values, samples and contexts out of range, stages."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small import AFFINE

import pushforward as pf
from pushforward.cli import printer
from pushforward.cli.table_split import read_split
from pushforward.persistence import read_notes
from pushforward.reporting.text import describe_gain
from pushforward.tabular.comparison.compare import _margin_error
from pushforward.tabular.schema import Column, Range, infer_schema, out_of_range


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_no_gain_is_claimed_with_repeated_values(command):
    """Rain is 0 on half of the days and continuous else: neither a density nor a grid can model it."""
    random = np.random.default_rng(0)
    rain = np.where(random.random(400) < 0.5, 0.0, random.lognormal(size=400))
    pl.DataFrame({"rain": rain, "b": random.normal(size=400)}).write_csv("t.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = command("fit", "t.csv", *AFFINE, "--report", "r.html", "-o", "m.safetensors")
    assert result.code == 0
    assert "No gain over a Gaussian is claimed" in result.out
    assert "column 'rain' (" in result.out
    assert re.search(r"0 in [45]\d\.\d%", result.out)
    assert "gains" not in result.out
    assert "below 0" in result.out.replace("\n", " ")
    page = Path("r.html").read_text()
    assert "No gain over a Gaussian is claimed" in page
    assert "over the Gaussian" not in page
    sample = command("sample", "m.safetensors", "-o", "s.csv")
    assert "column 'rain': " in sample.err
    assert "--column rain=positive+rounded:STEP" in sample.err
    notes = read_notes("m.safetensors")
    assert (notes["repeating"], list(notes["outside_range"])) == (["rain"], ["rain"])


def test_repeated_values_suggest_a_declaration():
    ages = np.random.default_rng(0).choice([17.5, 22.0, 27.0, 32.0, 37.0, 42.0], 500)
    repeats = infer_schema(ages[:, None], ["age of man"], detect=False).repeated_values(ages[:, None])["age of man"]
    assert (repeats.n_values, repeats.step) == (6, 0.5)
    assert set(repeats.values) == set(ages)
    assert repeats.suggestion("age of man", 17.5) == "declare it with --column 'age of man'=positive+rounded:0.5"
    declared = infer_schema(ages[:, None], ["age"], declarations={"age": "positive+rounded:0.5"})
    assert declared.repeated_values(ages[:, None]) == {}


@pytest.mark.parametrize(
    ("low", "high", "suggestion"),
    [
        (0.5, 80.0, "--column hours=positive."),
        (0.0, 80.0, "--column hours=positive+rounded:STEP: without a step there is no density at 0"),
        (-3.0, 80.0, "--column hours=bounded:-3:80+rounded:STEP"),
        (0.5, 5.5, "--column hours=bounded:0:5.5+rounded:STEP"),
        (0.5, 5.51, "--column hours=bounded:0:5.6."),
    ],
)
def test_samples_out_of_range_suggest_a_declaration(low, high, suggestion):
    samples = np.random.default_rng(0).normal(5.0, 5.0, size=(2000, 1))
    share, message = out_of_range([Column("hours")], samples, Range(("hours",), (low,), (high,), 1000))["hours"]
    assert share == np.mean((samples < low) | (samples > high))
    assert f"{100 * share:.3g} % of 2,000 samples lie outside {low:g} to {high:g}" in message
    assert suggestion in message
    assert "below 0" in message or low < 0


def test_samples_in_range_up_to_chance_are_not_reported():
    random = np.random.default_rng(1)
    for n in (60, 1000):
        rows, samples = random.normal(size=(n, 1)), random.normal(size=(4000, 1))
        assert out_of_range([Column("x")], samples, Range.of(["x"], rows)) == {}
    assert Range.from_dict(json.loads(json.dumps(Range.of(["x"], rows).to_dict())), ["x"]) == Range.of(["x"], rows)
    assert Range.from_dict({"names": ["x"], "low": ["0"], "high": [1.0], "rows": 3}, ["x"]) is None


@pytest.mark.usefixtures("unchecked")
def test_context_outside_the_training_range_is_reported(command, conditional):
    far_context = command("sample", conditional, "-n", "3", "--given", "c=500", "-o", "far.csv")
    assert far_context.code == 0
    assert "note: c=500 lies outside " in far_context.err
    near_context = command("sample", conditional, "-n", "3", "--given", "c=6", "-o", "near.csv")
    assert "lies outside" not in near_context.err
    assert command("sample", conditional, "--given", "c=500", "-o", "j.csv", "--json").json["far_contexts"]


def test_gain_has_the_error_of_the_differences():
    text = describe_gain(0.01234, 0.00211)
    assert text.startswith("The flow gains 0.0123 ± 0.0021 nats per row over a Gaussian: ")
    assert text.endswith("a test row is 1.2% likelier under it.")
    assert "level" in describe_gain(0.01, 0.006)
    assert describe_gain(1e-9, 1e-9) == "The flow scores the test rows as a Gaussian does, within 0.001 nats per row."
    assert "behind" in describe_gain(-0.5, 0.1)
    assert "not finite" in describe_gain(-np.inf, None)
    few = describe_gain(0.5, 0.1, n_rows=20)  # Student's t with 19 degrees of freedom: 2.093
    assert "Only 20 rows were tested: with 95% confidence the gain lies between 0.29 and 0.71 nats per row" in few
    assert "Only" not in describe_gain(0.5, 0.1, n_rows=100)
    random = np.random.default_rng(0)
    parts = [random.normal(size=50), random.normal(size=50)]
    tests = [np.arange(50), np.arange(50, 100)]
    expected = np.sqrt(sum(part.var(ddof=1) / 50 for part in parts)) / 2
    assert _margin_error(parts, tests, None) == pytest.approx(expected, rel=1e-12)
    groups = np.arange(100) // 5
    means = [part.reshape(10, 5).mean(1) for part in parts]
    expected = np.sqrt(sum(mean.var(ddof=1) / 10 for mean in means)) / 2
    assert _margin_error(parts, tests, groups) == pytest.approx(expected, rel=1e-12)
    assert _margin_error([np.array([0.0, -np.inf]), parts[1]], [tests[0][:2], tests[1]], None) is None


def test_exclude_leaves_columns_out(command, tmp_path):
    people = pl.DataFrame({"who": ["a", "b"] * 30, "x": range(60), "y": range(60), "z": range(60)})
    people.write_csv("t.csv")
    split = read_split(tmp_path / "t.csv", None, ["z"], False, 0, exclude=["who"], detect=False)
    assert (split.columns, split.context_columns) == (("x", "y"), ("z",))
    grouped = read_split(tmp_path / "t.csv", None, None, False, 0, exclude=["x"], groups="who", detect=False)
    assert grouped.columns == ("y", "z")
    for options, message in (
        (["--exclude", "who", "--columns", "x"], "--columns or --exclude"),
        (["--exclude", "who,z", "--context", "z"], "z is in --context too"),
    ):
        result = command("fit", "t.csv", *options)
        assert (result.code, message in result.err) == (2, True)
    result = command("fit", "t.csv", "--exclude", "who,w")
    assert (result.code, "there is no column 'w' to leave out" in result.err) == (1, True)


def test_long_stage_is_printed_to_standard_error(capsys, monkeypatch):
    with printer.Printer(False, False).stage("testing"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(printer, "_QUIET_SECONDS", 0.0)
    for quiet in (False, True):
        with printer.Printer(False, quiet).stage("testing"):
            pass
        out, err = capsys.readouterr()
        assert out == ""
        assert ("testing: " in err) != quiet


@pytest.mark.parametrize("frame_type", [pl.DataFrame, pytest.param(dict, id="pandas")])
def test_text_among_numbers_is_reported_with_column_and_row(frame_type):
    values = {"x": [1.0, 2.0, 3.0], "children": ["1", "no", "yes"]}
    table = pytest.importorskip("pandas").DataFrame(values) if frame_type is dict else frame_type(values)
    with pytest.raises(ValueError, match="could not convert string to float: 'no' in column 'children' at row 1"):
        pf.FlowDensity(max_epochs=1).fit(table)
