"""Damaged model files are refused or score as before, in bounded memory; a file and its notes are one snapshot."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import damaged_models
import numpy as np
import pytest
from damaged_models import FLOWS, QUICK, entries, is_number, parts

import pushforward as pf
from pushforward.bijections import PixelSigmoid, Repeat, Standardise
from pushforward.cli.model_file import load_model, number_in
from pushforward.errors import ModelFileError
from pushforward.persistence import container, load_with_notes, read_notes
from pushforward.persistence.limits import LIMITS, check_limits
from pushforward.persistence.tree import registry

MEGABYTES = 250  # a compiled program for each structure that loads, and no more for a file of 200 MB


def damaged(n_files, names):
    program = [sys.executable, str(Path(damaged_models.__file__)), "--files", str(n_files), "--flows"]
    done = subprocess.run([*program, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(f"{report['files']} files: {report['outcomes']}; peak memory grew by {report['grown']:.0f} MB")
    return report


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system keeps no status file of a process")
@pytest.mark.parametrize(
    ("n_files", "names"),
    [(50, QUICK), pytest.param(500, tuple(FLOWS), marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_damaged_files_are_refused_or_score_as_before(n_files, names):
    report = damaged(n_files, names)
    assert report["faults"] == []
    assert sum(report["outcomes"].values()) == n_files
    assert report["outcomes"]["sparse, refused"] == n_files // 50
    assert report["grown"] < MEGABYTES


def test_every_integer_field_of_a_module_has_a_limit():
    """A new integer field must have a limit in files."""
    fields = {
        field.name
        for cls in registry().values()
        for field in dataclasses.fields(cls)
        if cls.__module__.startswith("pushforward.") and field.metadata.get("static") and field.type is int
    }
    assert fields
    assert fields <= set(LIMITS)


def test_numbers_beyond_the_limits_are_refused_before_they_are_used(tmp_path):
    """Numbers that no tensor bounds: layers without arrays, samples, probes and terms."""
    image = pf.Flow(pf.bases.Normal((1, 1, 1)), Repeat([PixelSigmoid((1, 1, 1), levels=2)] * 2))
    normal = pf.Flow(pf.bases.Normal((2,)), Standardise((2,)))
    for flow, name in (
        (image, "n_layers"),
        (pf.Dequantised(normal, 4), "n_draws"),
        (pf.Dequantised(normal, 4), "levels"),
    ):
        pf.save(tmp_path / "flow", flow)
        content = (tmp_path / "flow").read_bytes()
        for value in (10**18, -1):
            header, tensors = parts(content)
            for node, key in entries(header["flow"], is_number):
                if key == name:
                    node[key] = value
            (tmp_path / "forged").write_bytes(container.pack(header, tensors))
            with pytest.raises(ModelFileError, match=f"{name} is .*expected a number from 0 to"):
                pf.load(tmp_path / "forged")


@pytest.mark.parametrize("name", ["n_terms", "n_probes", "n_exact", "n_points", "max_iterations", "depth", "rate"])
def test_limits_are_inclusive(name):
    check_limits({name: LIMITS[name]}, "layer.", event_size=2)
    for value in (LIMITS[name] + 1, -1):
        with pytest.raises(ModelFileError, match=f"layer.{name} is {value:,}, expected a number from 0"):
            check_limits({name: value}, "layer.", event_size=2)


def test_limit_of_draws_depends_on_the_event_size(tmp_path):
    wide = pf.Flow(pf.bases.Normal((4096,)), Standardise((4096,)))
    with pytest.raises(ModelFileError, match=r"n_draws is 9,000, expected a number from 0 to 8,192"):
        pf.save(tmp_path / "flow", pf.Dequantised(wide, 4, n_draws=9000))


def test_flow_and_notes_are_of_one_file(tmp_path, monkeypatch):
    """Another program replaces the file as soon as it has been opened."""
    path, other = tmp_path / "flow", tmp_path / "other"
    openings = []

    def opener(name, flags):
        descriptor = os.open(name, flags)
        openings.append(name)
        other.replace(path)
        return descriptor

    monkeypatch.setattr(container, "_open_without_blocking", opener)
    for read in (load_with_notes, load_model):
        for target, mean, columns in ((path, [0.0, 100.0], ["a", "b"]), (other, [100.0, 0.0], ["b", "a"])):
            layer = Standardise((2,)).filled(np.array(mean), np.ones(2))
            pf.save(target, pf.Flow(pf.bases.Normal((2,)), layer), notes={"columns": columns})
        flow, notes = read(path)
        assert notes["columns"] == ["a", "b"]
        assert flow.bijection.mean.tolist() == [0.0, 100.0]
    assert len(openings) == 2


@pytest.mark.parametrize("value", [[1.0], "1", True, {"a": 1}, None, 10**400], ids=lambda value: type(value).__name__)
def test_notes_of_another_type_change_no_score(value, tmp_path, capsys, monkeypatch):
    from pushforward.cli.app import run

    monkeypatch.chdir(tmp_path)
    notes = {
        "held_out_nats": value,
        "gaussian_nats": value,
        "held_out": value,
        "is_bound": value,
        "own": value,
    }
    pf.save("flow.safetensors", pf.bases.Normal((2,)), notes=notes)
    Path("t.csv").write_text("x0,x1\n1,2\n3,4\n")
    assert number_in(notes, "held_out_nats") is None
    assert run(["score", "flow.safetensors", "t.csv", "-o", "s.csv", "-q"]) == 0
    assert len(Path("s.csv").read_text().splitlines()) == 3
    capsys.readouterr()
    assert run(["show", "flow.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"]["own"] == value
    assert run(["check", "flow.safetensors", "-q"]) == 0


def test_deep_notes_are_refused_before_they_are_written_and_when_they_are_read(tmp_path):
    shallow = json.loads("[" * 99 + "]" * 99)
    deep = [shallow]
    pf.save(tmp_path / "flow", pf.bases.Normal((2,)), notes={"a": shallow})
    assert read_notes(tmp_path / "flow") == {"a": shallow}
    content = (tmp_path / "flow").read_bytes()
    with pytest.raises(ModelFileError, match="nested more than 100 levels deep"):
        pf.save(tmp_path / "flow", pf.bases.Normal((2,)), notes={"a": deep})
    cycle = []
    cycle.append(cycle)
    with pytest.raises(ModelFileError, match="nested more than 100 levels deep"):
        pf.save(tmp_path / "flow", pf.bases.Normal((2,)), notes={"a": cycle})
    assert (tmp_path / "flow").read_bytes() == content
    outer = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    body, inner = content[8 + int.from_bytes(content[:8], "little") :], outer["__metadata__"]["pushforward"]
    for depth in (300, 10_000):
        altered = inner.replace("[" * 99 + "]" * 99, "[" * depth + "]" * depth)
        assert altered != inner
        header = json.dumps({**outer, "__metadata__": {"pushforward": altered}}).encode()
        (tmp_path / "deep").write_bytes(len(header).to_bytes(8, "little") + header + body)
        for read in (pf.load, read_notes):
            with pytest.raises(ModelFileError, match="nested more than 256 levels deep"):
                read(tmp_path / "deep")
