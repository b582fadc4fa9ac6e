"""Commands on a table: fit, show, check, score and sample."""

import json
import math
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from pages import TECHNICAL, Page
from small import AFFINE, TINY, rows

import pushforward as pf
from pushforward.cli.table_split import leaderboard, read_split
from pushforward.core.fields import cast
from pushforward.persistence import read_notes
from pushforward.tabular.files import read_table, write_table
from pushforward.train import History


def test_fit_writes_a_model_with_notes(command, table):
    result = command("fit", table, *AFFINE, "--seed", "7", "--json")
    assert (result.code, result.err) == (0, "")
    notes = read_notes("model.safetensors")
    assert notes["columns"] == ["a", "b", "c"]
    assert (notes["context_columns"], notes["seed"], notes["rows"]) == ([], 7, 400)
    assert notes["held_out"] == "40 test rows"
    assert math.isfinite(notes["held_out_nats"])
    assert result.json["held_out_nats"] == notes["held_out_nats"]
    assert result.json["epochs"] == 1


def test_fit_prints_a_summary_and_next_steps(command, table):
    result = command("fit", table, *TINY, "--report", "report.html", "-o", "m.safetensors")
    assert result.code == 0
    for message in ("400 rows of a, b, c", "40 rows are held out", "Gaussian", "wrote m.safetensors and report.html"):
        assert message in result.out
    assert "pushforward score m.safetensors" in result.out
    assert "were used in training" not in result.out
    page = Path("report.html").read_text()
    assert "nsf fitted to data.csv" in page
    assert "Gaussian" in page
    assert not TECHNICAL.search(result.out + Page(page).main)


def test_held_out_score_is_that_of_the_test_rows(command, table):
    """The printed number is the mean score of the tenth of the rows that the seed selects."""
    result = command("fit", table, *AFFINE, "--seed", "3", "--json")
    test = np.random.default_rng(3).permutation(400)[:40]
    write_table("test.csv", rows()[test], ("a", "b", "c"))
    scored = command("score", "model.safetensors", "test.csv", "--json").json
    assert scored["mean"] == pytest.approx(result.json["held_out_nats"], rel=1e-9)


def test_score_is_the_log_density_in_double_precision(command, model, table):
    assert command("score", model, table, "-o", "s.csv").code == 0
    scored = read_table("s.csv").values[:, 0]
    flow = pf.load(model)
    np.testing.assert_allclose(scored, np.asarray(flow.log_prob(rows())), atol=2e-2)
    with jax.enable_x64(True):
        exact = np.asarray(cast(flow, np.float64).log_prob(rows()))
    np.testing.assert_array_equal(scored, exact)


def test_columns_are_matched_by_name_in_any_order(command, model, table):
    write_table("reversed.parquet", np.column_stack([rows()[:, ::-1], np.zeros(400)]), ("c", "b", "a", "unused"))
    command("score", model, table, "-o", "one.npy")
    assert command("score", model, "reversed.parquet", "-o", "two.npy").code == 0
    np.testing.assert_array_equal(np.load("one.npy"), np.load("two.npy"))


def test_score_with_drop_na_writes_rows_and_scores(command, model, tmp_path):
    (tmp_path / "gaps.csv").write_text("a,b,c\n1000,10,5\n1000,,5\n1010,10.1,6\n")
    assert command("score", model, "gaps.csv", "-o", "s.csv", "--drop-na").code == 0
    scored = read_table("s.csv")
    assert scored.columns == ("a", "b", "c", "log_prob")
    assert scored.values[:, 0].tolist() == [1000.0, 1010.0]


def test_samples_have_names_and_units_of_the_data(command, model):
    assert command("sample", model, "-n", "500", "-o", "new.parquet", "--seed", "5").code == 0
    samples = read_table("new.parquet")
    assert samples.columns == ("a", "b", "c")
    assert samples.values.shape == (500, 3)
    np.testing.assert_allclose(samples.values[:, 0].mean(), 1000.0, atol=10.0)


def test_seed_determines_the_samples(command, model):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        command("sample", model, "-n", "5", "-o", f"{name}.npy", "--seed", seed)
    assert (np.load("one.npy") == np.load("same.npy")).all()
    assert (np.load("one.npy") != np.load("other.npy")).all()


def test_conditional_model_scores_and_samples(command, conditional, table):
    result = command("score", conditional, table, "-o", "s.csv", "--json")
    flow = pf.load(conditional)
    expected = np.asarray(flow.log_prob(rows()[:, :2], rows()[:, 2:]))
    assert result.json["mean"] == pytest.approx(float(expected.mean()), abs=1e-3)
    assert command("sample", conditional, "-n", "3", "--given", "c=6", "-o", "new.csv").code == 0
    assert read_table("new.csv").columns == ("a", "b")


def test_show_prints_layers_and_notes(command, model):
    result = command("show", model)
    assert result.code == 0
    assert "Flow shape (3,)" in result.out
    assert "a, b, c" in result.out
    assert "{" not in result.out
    text = result.out
    result = command("show", model, "--json")
    assert result.json["notes"]["certificate"]["summary"][:30] in text
    assert result.json["notes"]["columns"] == ["a", "b", "c"]
    assert result.json["parameters"] > 0


def test_check_uses_data(command, conditional, table):
    result = command("check", conditional, table, "--json")
    assert result.code == (0 if result.json["ok"] else 1)
    assert "round trip of data" in [row["name"] for row in result.json["rows"]]


def test_check_fails_for_an_unhealthy_model(command, model, monkeypatch):
    from pushforward import diagnostics
    from pushforward.diagnostics import Certificate, Row

    unhealthy = Certificate((Row("round trip of samples", math.nan, 1e-3, False, "far off"),), "float32")
    monkeypatch.setattr(diagnostics, "check", lambda *args, **kwargs: unhealthy)
    result = command("check", model, "--json")
    assert result.code == 1
    assert result.json["rows"][0]["value"] is None  # strict JSON has no NaN


def test_doctor_succeeds(command):
    result = command("doctor", "--json")
    assert (result.code, result.json["ok"]) == (0, True)
    assert result.json["versions"]["jax"] == jax.__version__
    assert result.json["devices"]


def test_quiet_prints_nothing(command, model, table):
    for arguments in (("show", model), ("score", model, table, "-o", "s.csv"), ("sample", model, "-n", "2")):
        assert command(*arguments, "--quiet") == type(command("show", model, "--quiet"))(0, "", "")


def test_json_is_one_line_of_strict_json(command, model):
    result = command("sample", model, "-n", "2", "--json")
    assert result.out.count("\n") == 1
    assert json.loads(result.out, parse_constant=pytest.fail)["rows"] == 2


def test_with_few_rows_the_validation_rows_are_scored(tmp_path):
    """Without a test, a small table is scored on its validation rows, and the output says so."""
    write_table(tmp_path / "few.csv", rows(60), ("a", "b", "c"))
    split = read_split(tmp_path / "few.csv", None, None, drop_na=False, seed=0)
    assert (len(split.train), split.n_rows, split.is_held_out) == (60, 60, False)
    history = History(validation=[-3.0, -2.0], best_epoch=1, gaussian=-2.5, n_validation=6, seconds=[0.5, 1.5])
    flow, baseline = leaderboard("nsf", split, None, history)
    assert (flow.setting, flow.test_log_likelihood, flow.fit_seconds) == ("6 validation rows", -2.0, 1.5)
    assert (baseline.setting, baseline.test_log_likelihood) == ("6 validation rows", -2.5)


@pytest.mark.usefixtures("unchecked")
def test_printed_next_commands_run(command, tmp_path):
    """With blanks and commas in names, and all options that matter."""
    write_table("my table.csv", rows(60), ("a", "b, in m", "c"))
    result = command("fit", "my table.csv", "--context", '"b, in m"', "-o", "my model.safetensors", *AFFINE)
    line = result.out.splitlines()[-1].replace("=...", "=10")
    assert "'my model.safetensors'" in line
    assert command(*shlex.split(line)[1:]).code == 0
    assert 'given "b, in m"' in result.out
    assert "These rows were used in training" in result.out
    options = ("--columns", 'a,"b, in m"', "--context", "c", "--folds", "1", "--flows", "nice", *TINY)
    result = command("compare", "my table.csv", *options)
    assert '60 rows of a, "b, in m" given c' in result.out
    arguments = shlex.split(next(line for line in result.out.splitlines() if line.startswith("  pushforward fit")))
    assert arguments[2] == "my table.csv"
    assert arguments[arguments.index("--columns") + 1] == 'a,"b, in m"'
    assert " ".join(TINY[:2]) in " ".join(arguments)


def test_test_rows_have_the_numbers_of_the_file(tmp_path):
    """Dropped rows count too, so that users find the rows in their file."""
    values = np.random.default_rng(0).normal(size=(300, 2))
    lines = ["a,b", *(f"{'' if index < 50 else a},{b}" for index, (a, b) in enumerate(values))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    split = read_split(tmp_path / "t.csv", None, None, True, 0)
    assert split.test_rows.min() > 50
    np.testing.assert_allclose(split.test, values[split.test_rows - 1])
