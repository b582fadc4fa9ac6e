"""`pushforward score` on tables in many batches: equal scores, an exact summary, and no file after a late error."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small import rows

import pushforward as pf
from pushforward.cli import ordered_map as ordered_map_module
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
def test_batches_give_the_same_bits_as_one_call(command, model, many, suffix, workers, monkeypatch):
    expected = double.log_prob_float64(pf.load(model), rows(2500))
    monkeypatch.setattr(table_module, "_ROWS", 1024)
    monkeypatch.setattr(ordered_map_module, "cores", lambda: workers)
    result = command("score", model, many, "-o", f"s{suffix}", "--json")
    assert (result.code, result.err) == (0, "")
    np.testing.assert_array_equal(read_table(f"s{suffix}").values[:, 0], expected)
    assert result.json["rows"] == 2500
    assert result.json["dropped"] == 0
    assert result.json["mean"] == pytest.approx(expected.mean(), rel=1e-12)
    assert (result.json["lowest"], result.json["lowest_row"]) == (expected.min(), expected.argmin() + 1)
    assert result.json["quantiles_exact"]
    quantiles = [result.json[name] for name in ("quantile_01", "median", "quantile_99")]
    assert quantiles == np.quantile(expected, [0.01, 0.5, 0.99]).tolist()


def test_weights_are_cast_once(command, model, many, monkeypatch):
    casts, cast = [], double.cast
    monkeypatch.setattr(table_module, "_ROWS", 500)
    monkeypatch.setattr(double, "cast", lambda *arguments: casts.append(1) or cast(*arguments))
    assert command("score", model, many).code == 0
    assert len(casts) == 1


def test_dropped_rows_are_counted_over_all_batches(command, model, tmp_path, monkeypatch):
    values = rows(90)
    values[[2, 40, 41, 89], [0, 1, 2, 2]] = np.nan
    values[20:30] = np.nan  # a batch without a complete row
    np.save(tmp_path / "gaps.npy", values)
    pl.DataFrame(values, schema=list(NAMES)).write_parquet("gaps.parquet")
    monkeypatch.setattr(table_module, "_ROWS", 10)
    result = command("score", model, "gaps.parquet", "--drop-na", "--json", "-o", "s.npy")
    assert (result.json["rows"], result.json["dropped"]) == (76, 14)
    is_complete = ~np.isnan(values).any(axis=1)
    complete = values[is_complete]
    table = np.load("s.npy")
    np.testing.assert_array_equal(table[:, :3], complete)
    np.testing.assert_allclose(table[:, 3], double.log_prob_float64(pf.load(model), complete), rtol=1e-12)
    assert result.json["lowest_row"] == np.flatnonzero(is_complete)[table[:, 3].argmin()] + 1  # row number in the file
    assert result.json["lowest_row"] > 2
    result = command("score", model, "gaps.parquet", "--drop-na", "-o", "t.npy")
    assert "Left out: 14 rows with a missing cell" in result.out


def test_constant_columns_are_not_written_with_the_scores(command):
    schema = TableSchema((Column("a"), Column("k", kind="constant", centre=5.0), Column("b")))
    flow = pf.nice(dim=2, key=0, n_layers=2, width=8)
    pf.save("m.safetensors", flow, notes={"columns": ["a", "k", "b"], "plan": schema.to_dict()})
    Path("t.csv").write_text("b,a,k\n1,2,5\n,4,5\n5,6,5\n")
    assert command("score", "m.safetensors", "t.csv", "--drop-na", "-o", "s.csv").code == 0
    table = read_table("s.csv")
    assert table.columns == ("a", "b", "log_prob")
    np.testing.assert_array_equal(table.values[:, :2], [[2, 1], [6, 5]])


def test_table_may_have_a_column_log_prob(command):
    flow = pf.nice(dim=2, key=0, n_layers=2, width=8)
    pf.save("m.safetensors", flow, notes={"columns": ["log_prob", "b"]})
    Path("t.csv").write_text("log_prob,b\n1,2\n,4\n5,6\n")
    result = command("score", "m.safetensors", "t.csv", "--drop-na", "-o", "s.csv")
    assert result.code == 0
    assert "scores are the column log_prob_," in result.out
    assert read_table("s.csv").columns == ("log_prob", "b", "log_prob_")


def test_quantiles_of_a_sample_are_close_and_the_rest_is_exact(command, model, many, monkeypatch):
    """By Hoeffding the median of 500 of 2,500 scores lies between the quantiles 0.37 and 0.63; false alarms 5e-8."""
    monkeypatch.setattr(table_module, "_ROWS", 1024)
    monkeypatch.setattr(score_summary, "SAMPLE", 500)
    result = command("score", model, many, "-o", "s.npy", "--json").json
    scores = np.load("s.npy")[:, 0]
    assert not result["quantiles_exact"]
    assert result["mean"] == pytest.approx(scores.mean(), rel=1e-12)
    assert result["lowest"] == scores.min()
    assert np.quantile(scores, 0.37) < result["median"] < np.quantile(scores, 0.63)
    text = command("score", model, many, "-o", "t.npy").out
    assert "median      about " in text
    assert "99 % above  about " in text
    assert "mean        -" in text


def test_sample_is_uniform_for_any_batches():
    """Of a million scores 2^17 are sampled: the share of the last tenth is 0.1 +- 0.00083 x 5; false alarms 6e-7."""
    scores = np.arange(1e6)
    summary = ScoreSummary(3)
    for part in np.split(scores, [1, 200_000, 200_001, 900_000]):
        summary.add(part, summary.rows + 1 + np.arange(len(part)))
    complete = np.sort(summary._sample)
    assert len(complete) == len(np.unique(complete)) == 2**17
    assert abs(np.mean(complete >= 900_000) - 0.1) < 5 * 0.00083
    assert abs(np.mean(complete < 100_000) - 0.1) < 5 * 0.00083
    assert (summary.rows, summary.mean, summary.lowest_row) == (10**6, scores.mean(), 1)


def test_error_in_a_late_batch_leaves_no_file(command, model, tmp_path, monkeypatch):
    text = "a,b,c\n" + "1000,10,5\n" * 3000 + "1000,blue,5\n"
    (tmp_path / "t.csv").write_text(text)
    from pushforward.tabular.files import delimited

    monkeypatch.setattr(delimited, "_BLOCK", 2000)
    for suffix in (".csv", ".parquet"):
        result = command("score", model, "t.csv", "-o", f"s{suffix}")
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("pushforward: t.csv: line 3002, column 'b': 'blue' is not a number")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numeric_error_names_the_batch(command, model, many, monkeypatch, suffix):
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
    result = command("score", model, many, "-o", f"s{suffix}")
    assert result.code == 1
    assert "many.parquet, with rows counted from row 2049, which is 0: log_prob is NaN" in result.err
    assert not Path(f"s{suffix}").exists()


def test_ordered_map_keeps_the_order_and_bounds_the_queue():
    import time

    consumed = []

    def items():
        for k in range(20):
            consumed.append(k)
            yield k

    def work(k):
        time.sleep(0.001 * (k % 3))
        return k

    for index, value in enumerate(ordered_map(work, items(), 3)):
        assert value == index
        assert len(consumed) <= index + 4


def test_ordered_map_raises_at_the_failed_item():
    results = ordered_map(lambda k: 1 // (k - 2), range(9), 2)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(("is_terminal", "batch"), [(True, 1024), (False, 1024), (True, 4096)])
def test_progress_bar_is_shown_on_a_terminal_with_several_batches(
    command, model, many, monkeypatch, is_terminal, batch
):
    monkeypatch.setattr(table_module, "_ROWS", batch)
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    result = command("score", model, many)
    assert result.code == 0
    assert ("2,500 rows scored" in result.err) == (is_terminal and batch < 2500)
    assert "2,500 rows scored" in result.out
    quiet = command("score", model, many, "--overwrite", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


# getrusage would include the memory of the parent process.
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
    """0.3 and 2 million rows: 41 MB more of input, 14 MB more of scores, and the memory of the first batches."""
    peaks = []
    for count in (300_000, 2_000_000):
        write_table(tmp_path / f"t{count}{suffix}", rows(count), NAMES)
        command = [sys.executable, "-c", PEAK, str(model), f"t{count}{suffix}", "-o", f"s{count}{suffix}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        result, peak = done.stdout.splitlines()
        assert json.loads(result)["rows"] == count
        peaks.append(int(peak))
    print(f"{suffix}: {peaks[0]} MB, {peaks[1]} MB")
    assert peaks[1] - peaks[0] <= 50
