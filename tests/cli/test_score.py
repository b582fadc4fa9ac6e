"""`pushforward score` on tables in many batches: the same numbers, exact facts, and no file after a late fault."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small import rows

import pushforward as pf
from pushforward.cli import ordered_map as in_order_module
from pushforward.cli import score_summary
from pushforward.cli.ordered_map import ordered_map
from pushforward.cli.score_summary import ScoreSummary
from pushforward.core import float64 as double
from pushforward.errors import NumericError
from pushforward.tabular.files import read_table, write_table
from pushforward.tabular.files import table as table_module
from pushforward.tabular.schema import Column, TableSchema

NAMES = ("a", "b", "c")


@pytest.fixture
def many(tmp_path):
    """2,500 rows: three batches where a batch has 1,024, the size of a compiled program."""
    path = tmp_path / "many.parquet"
    write_table(path, rows(2500), NAMES)
    return path


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_batches_give_the_bits_of_the_whole(command, model, many, suffix, workers, monkeypatch):
    whole = double.log_prob_float64(pf.load(model), rows(2500))
    monkeypatch.setattr(table_module, "_ROWS", 1024)
    monkeypatch.setattr(in_order_module, "cores", lambda: workers)
    said = command("score", model, many, "-o", f"s{suffix}", "--json")
    assert (said.code, said.err) == (0, "")
    np.testing.assert_array_equal(read_table(f"s{suffix}").values[:, 0], whole)
    assert said.json["rows"] == 2500
    assert said.json["dropped"] == 0
    assert said.json["mean"] == pytest.approx(whole.mean(), rel=1e-12)
    assert (said.json["lowest"], said.json["lowest_row"]) == (whole.min(), whole.argmin() + 1)
    assert said.json["quantiles_exact"]
    found = [said.json[name] for name in ("quantile_01", "median", "quantile_99")]
    assert found == np.quantile(whole, [0.01, 0.5, 0.99]).tolist()


def test_the_weights_are_cast_up_once(command, model, many, monkeypatch):
    casts, cast = [], double.cast
    monkeypatch.setattr(table_module, "_ROWS", 500)
    monkeypatch.setattr(double, "cast", lambda *arguments: casts.append(1) or cast(*arguments))
    assert command("score", model, many).code == 0
    assert len(casts) == 1


def test_dropped_rows_are_counted_over_all_batches(command, model, tmp_path, monkeypatch):
    values = rows(90)
    values[[2, 40, 41, 89], [0, 1, 2, 2]] = np.nan
    values[20:30] = np.nan  # a batch of which nothing is left
    np.save(tmp_path / "gaps.npy", values)
    pl.DataFrame(values, schema=list(NAMES)).write_parquet("gaps.parquet")
    monkeypatch.setattr(table_module, "_ROWS", 10)
    said = command("score", model, "gaps.parquet", "--drop-na", "--json", "-o", "s.npy")
    assert (said.json["rows"], said.json["dropped"]) == (76, 14)
    is_kept = ~np.isnan(values).any(axis=1)
    kept = values[is_kept]
    found = np.load("s.npy")
    np.testing.assert_array_equal(found[:, :3], kept)
    np.testing.assert_allclose(found[:, 3], double.log_prob_float64(pf.load(model), kept), rtol=1e-12)
    assert said.json["lowest_row"] == np.flatnonzero(is_kept)[found[:, 3].argmin()] + 1  # as the file counts
    assert said.json["lowest_row"] > 2
    said = command("score", model, "gaps.parquet", "--drop-na", "-o", "t.npy")
    assert "Left out: 14 rows with a missing cell" in said.out


def test_a_column_that_is_not_modelled_is_not_written_beside_the_scores(command):
    schema = TableSchema((Column("a"), Column("k", kind="constant", centre=5.0), Column("b")))
    flow = pf.nice(dim=2, key=0, n_layers=2, width=8)
    pf.save("m.safetensors", flow, notes={"columns": ["a", "k", "b"], "plan": schema.to_dict()})
    Path("t.csv").write_text("b,a,k\n1,2,5\n,4,5\n5,6,5\n")
    assert command("score", "m.safetensors", "t.csv", "--drop-na", "-o", "s.csv").code == 0
    found = read_table("s.csv")
    assert found.columns == ("a", "b", "log_prob")
    np.testing.assert_array_equal(found.values[:, :2], [[2, 1], [6, 5]])


def test_a_column_may_be_called_as_the_scores_are(command):
    flow = pf.nice(dim=2, key=0, n_layers=2, width=8)
    pf.save("m.safetensors", flow, notes={"columns": ["log_prob", "b"]})
    Path("t.csv").write_text("log_prob,b\n1,2\n,4\n5,6\n")
    said = command("score", "m.safetensors", "t.csv", "--drop-na", "-o", "s.csv")
    assert said.code == 0
    assert "scores are the column log_prob_," in said.out
    assert read_table("s.csv").columns == ("log_prob", "b", "log_prob_")


def test_beyond_the_sample_quantiles_are_about_right_and_the_rest_is_exact(command, model, many, monkeypatch):
    """A median of 500 scores out of 2,500 lies, by Hoeffding, within shares 0.5 +- 0.13 but for once in 20 million."""
    monkeypatch.setattr(table_module, "_ROWS", 1024)
    monkeypatch.setattr(score_summary, "SAMPLE", 500)
    said = command("score", model, many, "-o", "s.npy", "--json").json
    scores = np.load("s.npy")[:, 0]
    assert not said["quantiles_exact"]
    assert said["mean"] == pytest.approx(scores.mean(), rel=1e-12)
    assert said["lowest"] == scores.min()
    assert np.quantile(scores, 0.37) < said["median"] < np.quantile(scores, 0.63)
    text = command("score", model, many, "-o", "t.npy").out
    assert "median      about " in text
    assert "99 % above  about " in text
    assert "mean        -" in text


def test_the_sample_is_uniform_whatever_the_batches():
    """Of a million scores 2^17 are kept: the share of the last tenth is 0.1 +- 0.00083 x 5, by chance 6e-7 outside."""
    scores = np.arange(1e6)
    summary = ScoreSummary(3)
    for part in np.split(scores, [1, 200_000, 200_001, 900_000]):
        summary.add(part, summary.rows + 1 + np.arange(len(part)))
    kept = np.sort(summary._kept)
    assert len(kept) == len(np.unique(kept)) == 2**17
    assert abs(np.mean(kept >= 900_000) - 0.1) < 5 * 0.00083
    assert abs(np.mean(kept < 100_000) - 0.1) < 5 * 0.00083
    assert (summary.rows, summary.mean, summary.lowest_row) == (10**6, scores.mean(), 1)


def test_a_fault_in_a_late_batch_leaves_no_file(command, model, tmp_path, monkeypatch):
    text = "a,b,c\n" + "1000,10,5\n" * 3000 + "1000,blue,5\n"
    (tmp_path / "t.csv").write_text(text)
    from pushforward.tabular.files import delimited

    monkeypatch.setattr(delimited, "_BLOCK", 2000)
    for suffix in (".csv", ".parquet"):
        said = command("score", model, "t.csv", "-o", f"s{suffix}")
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("pushforward: t.csv: line 3002, column 'b': 'blue' is not a number")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_without_a_density_is_named_by_its_batch(command, model, many, monkeypatch, suffix):
    class Broken:
        shape, context_shape = (3,), None

        def __init__(self, flow):
            self.flow = flow

        def log_prob(self, x, context):
            if len(x) < 1000:
                raise NumericError("log_prob is NaN for 1 of 452 finite rows, first at row 7")
            return self.flow.log_prob(x, context)

    monkeypatch.setattr(table_module, "_ROWS", 1024)
    monkeypatch.setattr(double, "cast", lambda flow, kind: Broken(flow))
    said = command("score", model, many, "-o", f"s{suffix}")
    assert said.code == 1
    assert "many.parquet, with rows counted from row 2049, which is 0: log_prob is NaN" in said.err
    assert not Path(f"s{suffix}").exists()


def test_results_come_in_order_and_no_further_ahead_than_there_are_workers():
    import time

    drawn = []

    def items():
        for k in range(20):
            drawn.append(k)
            yield k

    def work(k):
        time.sleep(0.001 * (k % 3))
        return k

    for place, result in enumerate(ordered_map(work, items(), 3)):
        assert result == place
        assert len(drawn) <= place + 4


def test_a_fault_of_the_work_comes_in_its_place():
    results = ordered_map(lambda k: 1 // (k - 2), range(9), 2)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(("looks", "batch"), [(True, 1024), (False, 1024), (True, 4096)])
def test_a_bar_is_shown_where_a_person_looks_and_there_is_more_than_one_batch(
    command, model, many, monkeypatch, looks, batch
):
    monkeypatch.setattr(table_module, "_ROWS", batch)
    monkeypatch.setattr("sys.stderr.isatty", lambda: looks)
    said = command("score", model, many)
    assert said.code == 0
    assert ("2,500 rows scored" in said.err) == (looks and batch < 2500)
    assert "2,500 rows scored" in said.out
    quiet = command("score", model, many, "--overwrite", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


# The count of getrusage would start with the memory of the process that starts this one.
PEAK = """
import sys
from pathlib import Path
from pushforward.cli.app import run
code = run(["score", *sys.argv[1:], "--json"])
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_peak_memory_does_not_grow_with_the_rows(model, suffix, tmp_path):
    """0.3 and 2 million rows: 41 MB more of cells in, 14 MB of scores out, and what the first batches leave behind."""
    peaks = []
    for count in (300_000, 2_000_000):
        write_table(tmp_path / f"t{count}{suffix}", rows(count), NAMES)
        command = [sys.executable, "-c", PEAK, str(model), f"t{count}{suffix}", "-o", f"s{count}{suffix}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        said, peak = done.stdout.splitlines()
        assert json.loads(said)["rows"] == count
        peaks.append(int(peak))
    print(f"{suffix}: {peaks[0]} MB, {peaks[1]} MB")
    assert peaks[1] - peaks[0] <= 50
