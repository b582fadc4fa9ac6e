"""The way of a user: fit a table, look at the model, score rows, draw rows."""

import json
import math
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from small import TINY, rows

import pushforward as pf
from pushforward.cli.table_split import leaderboard, read_split
from pushforward.core.fields import cast
from pushforward.persistence import read_notes
from pushforward.tabular.files import read_table, write_table
from pushforward.train import History


def test_fit_writes_a_model_with_notes(command, table):
    said = command("fit", table, *TINY, "--seed", "7", "--json")
    assert (said.code, said.err) == (0, "")
    notes = read_notes("model.safetensors")
    assert notes["columns"] == ["a", "b", "c"]
    assert (notes["context_columns"], notes["seed"], notes["rows"]) == ([], 7, 400)
    assert notes["held_out"] == "40 test rows"
    assert math.isfinite(notes["held_out_nats"])
    assert said.json["held_out_nats"] == notes["held_out_nats"]
    assert said.json["epochs"] == 1


def test_fit_tells_a_person_what_happened_and_what_is_next(command, table):
    said = command("fit", table, *TINY, "--report", "report.html", "-o", "m.safetensors")
    assert said.code == 0
    for words in ("400 rows of a, b, c", "40 rows are kept back", "Gaussian", "wrote m.safetensors and report.html"):
        assert words in said.out
    assert "pushforward score m.safetensors" in said.out
    assert "had a part in the training" not in said.out
    page = Path("report.html").read_text()
    assert "nsf fitted to data.csv" in page
    assert "Gaussian" in page


def test_the_held_out_nats_are_those_of_rows_that_were_kept_back(command, table):
    """The printed number is the mean over the tenth that the seed picks, scored as `score` does."""
    said = command("fit", table, *TINY, "--seed", "3", "--json")
    test = np.random.default_rng(3).permutation(400)[:40]
    write_table("test.csv", rows()[test], ("a", "b", "c"))
    scored = command("score", "model.safetensors", "test.csv", "--json").json
    assert scored["mean"] == pytest.approx(said.json["held_out_nats"], rel=1e-9)


def test_score_is_the_flows_log_density_in_double_precision(command, model, table):
    assert command("score", model, table, "-o", "s.csv").code == 0
    found = read_table("s.csv").values[:, 0]
    flow = pf.load(model)
    np.testing.assert_allclose(found, np.asarray(flow.log_prob(rows())), atol=2e-2)
    with jax.enable_x64(True):
        exact = np.asarray(cast(flow, np.float64).log_prob(rows()))
    np.testing.assert_array_equal(found, exact)


def test_columns_are_matched_by_name_whatever_their_order(command, model, table):
    write_table("turned.parquet", np.column_stack([rows()[:, ::-1], np.zeros(400)]), ("c", "b", "a", "unused"))
    command("score", model, table, "-o", "one.npy")
    assert command("score", model, "turned.parquet", "-o", "two.npy").code == 0
    np.testing.assert_array_equal(np.load("one.npy"), np.load("two.npy"))


def test_score_with_dropped_rows_writes_the_rows_beside_their_scores(command, model, tmp_path):
    (tmp_path / "gaps.csv").write_text("a,b,c\n1000,10,5\n1000,,5\n1010,10.1,6\n")
    assert command("score", model, "gaps.csv", "-o", "s.csv", "--drop-na").code == 0
    found = read_table("s.csv")
    assert found.columns == ("a", "b", "c", "log_prob")
    assert found.values[:, 0].tolist() == [1000.0, 1010.0]


def test_samples_have_the_names_and_the_units_of_the_data(command, model):
    assert command("sample", model, "-n", "500", "-o", "new.parquet", "--seed", "5").code == 0
    found = read_table("new.parquet")
    assert found.columns == ("a", "b", "c")
    assert found.values.shape == (500, 3)
    np.testing.assert_allclose(found.values[:, 0].mean(), 1000.0, atol=10.0)


def test_the_seed_decides_the_samples(command, model):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        command("sample", model, "-n", "5", "-o", f"{name}.npy", "--seed", seed)
    assert (np.load("one.npy") == np.load("same.npy")).all()
    assert (np.load("one.npy") != np.load("other.npy")).all()


def test_a_conditional_model_scores_and_samples_at_its_context(command, conditional, table):
    said = command("score", conditional, table, "-o", "s.csv", "--json")
    flow = pf.load(conditional)
    expected = np.asarray(flow.log_prob(rows()[:, :2], rows()[:, 2:]))
    assert said.json["mean"] == pytest.approx(float(expected.mean()), abs=1e-3)
    assert command("sample", conditional, "-n", "3", "--given", "c=6", "-o", "new.csv").code == 0
    assert read_table("new.csv").columns == ("a", "b")


def test_show_prints_layers_and_notes(command, model):
    said = command("show", model)
    assert said.code == 0
    assert "Flow shape (3,)" in said.out
    assert "a, b, c" in said.out
    assert "{" not in said.out
    printed = said.out
    said = command("show", model, "--json")
    assert said.json["notes"]["certificate"]["verdict"][:30] in printed
    assert said.json["notes"]["columns"] == ["a", "b", "c"]
    assert said.json["parameters"] > 0


def test_check_certifies_a_model_also_on_data(command, conditional, table):
    said = command("check", conditional, table, "--json")
    assert said.code == (0 if said.json["ok"] else 1)
    assert "round trip of data" in [row["name"] for row in said.json["rows"]]


def test_check_fails_for_a_model_that_is_not_healthy(command, model, monkeypatch):
    from pushforward import diagnostics
    from pushforward.diagnostics.certificate import Certificate, Row

    sick = Certificate((Row("round trip of samples", math.nan, 1e-3, False, "far off"),), "float32")
    monkeypatch.setattr(diagnostics, "check", lambda *args, **kwargs: sick)
    said = command("check", model, "--json")
    assert said.code == 1
    assert said.json["rows"][0]["value"] is None  # strict JSON has no NaN


def test_doctor_finds_this_installation_well(command):
    said = command("doctor", "--json")
    assert (said.code, said.json["ok"]) == (0, True)
    assert said.json["versions"]["jax"] == jax.__version__
    assert said.json["devices"]


def test_quiet_prints_nothing(command, model, table):
    for arguments in (("show", model), ("score", model, table, "-o", "s.csv"), ("sample", model, "-n", "2")):
        assert command(*arguments, "--quiet") == type(command("show", model, "--quiet"))(0, "", "")


def test_json_is_one_line_of_strict_json(command, model):
    said = command("sample", model, "-n", "2", "--json")
    assert said.out.count("\n") == 1
    assert json.loads(said.out, parse_constant=pytest.fail)["rows"] == 2


def test_with_few_rows_the_validation_rows_are_scored(tmp_path):
    """Without a test of its own a small table is judged by the rows that `fit` held out, and the words say so."""
    write_table(tmp_path / "few.csv", rows(60), ("a", "b", "c"))
    split = read_split(tmp_path / "few.csv", None, None, drop_na=False, seed=0)
    assert (len(split.train), split.n_rows, split.is_held_out) == (60, 60, False)
    history = History(validation=[-3.0, -2.0], best_epoch=1, gaussian=-2.5, n_validation=6, seconds=[0.5, 1.5])
    flow, floor = leaderboard("nsf", split, None, history)
    assert (flow.setting, flow.test_log_likelihood, flow.fit_seconds) == ("6 validation rows", -2.0, 1.5)
    assert (floor.setting, floor.test_log_likelihood) == ("6 validation rows", -2.5)


def test_what_comes_next_can_be_copied(command, tmp_path):
    """Names with blanks and commas, and every option that made the figures."""
    write_table("my table.csv", rows(60), ("a", "b, in m", "c"))
    said = command("fit", "my table.csv", "--context", '"b, in m"', "-o", "my model.safetensors", *TINY)
    line = said.out.splitlines()[-1].replace("=...", "=10")
    assert "'my model.safetensors'" in line
    assert command(*shlex.split(line)[1:]).code == 0
    assert 'given "b, in m"' in said.out
    assert "These rows had a part in the training" in said.out
    options = ("--columns", 'a,"b, in m"', "--context", "c", "--folds", "1", "--flows", "nice", *TINY)
    said = command("compare", "my table.csv", *options)
    assert '60 rows of a, "b, in m" given c' in said.out
    words = shlex.split(next(line for line in said.out.splitlines() if line.startswith("  pushforward fit")))
    assert words[2] == "my table.csv"
    assert words[words.index("--columns") + 1] == 'a,"b, in m"'
    assert " ".join(TINY[:2]) in " ".join(words)


def test_test_rows_are_numbered_as_in_the_file(tmp_path):
    """Rows that were dropped count too: whoever looks a row up looks in the file."""
    values = np.random.default_rng(0).normal(size=(300, 2))
    lines = ["a,b", *(f"{'' if place < 50 else a},{b}" for place, (a, b) in enumerate(values))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    split = read_split(tmp_path / "t.csv", None, None, True, 0)
    assert split.test_rows.min() > 50
    np.testing.assert_allclose(split.test, values[split.test_rows - 1])
