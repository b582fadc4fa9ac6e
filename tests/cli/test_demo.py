"""The demo with a small flow on a part of its data; `make demo` runs the full demo."""

import dataclasses
from pathlib import Path

import pytest

from pushforward import datasets
from pushforward.persistence import read_notes
from pushforward.tabular.files import read_table


@pytest.fixture
def small(monkeypatch):
    import sys

    module = sys.modules["pushforward.cli.demo"]
    data = datasets.household_power()
    part = dataclasses.replace(data, train=data.train[:600], validation=data.validation[:100], test=data.test[:100])
    monkeypatch.setattr(datasets, "household_power", lambda: part)
    monkeypatch.setattr(module, "_SETTINGS", {"n_layers": 2, "width": 8})
    monkeypatch.setattr(module, "_TRAINING", {"batch_size": 256, "max_epochs": 1})
    monkeypatch.setattr(module, "_SAMPLES", 200)
    return part


@pytest.mark.filterwarnings("ignore")
def test_demo_prints_a_leaderboard_and_writes_three_files(command, small, without_certificate):
    result = command("demo")
    assert result.code == 0, result.err
    for message in ("Gaussian mixture", "Kernel density", "Neural spline flow", "CC BY 4.0", "pushforward show"):
        assert message in result.out
    folder = Path("pushforward-demo")
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "report.html", "samples.csv"]
    assert read_table(folder / "samples.csv").values.shape == (200, 6)
    assert read_notes(folder / "model.safetensors")["columns"] == list(small.columns)
    page = (folder / "report.html").read_text()
    assert "Kernel density" in page
    assert "active_power (kW)" in page

    again = command("demo")
    assert again.code == 1
    assert "--overwrite" in again.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_demo_replaces_its_folder_and_prints_json(command, small, without_certificate):
    Path("pushforward-demo").mkdir()
    with without_certificate():
        result = command("demo", "--overwrite", "--json")
    assert (result.code, len(result.json["leaderboard"])) == (0, 4)
    scores = [row["test_nats"] for row in result.json["leaderboard"]]
    assert scores == sorted(scores, reverse=True)


def test_failed_demo_leaves_no_folder(command, small, monkeypatch, tmp_path):
    from pushforward.tabular import baselines

    def failing(*parts):
        raise ValueError("no baseline today")

    monkeypatch.setattr(baselines, "gaussian", failing)
    result = command("demo")
    assert (result.code, result.err) == (1, "pushforward: no baseline today\n")
    assert list(tmp_path.iterdir()) == []
