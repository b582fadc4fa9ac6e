"""`pushforward distill`: a student with the same columns, its report, and errors."""

from pathlib import Path

import pytest

import pushforward as pf
from pushforward.persistence import load, read_notes, save

QUICK = ("--flow", "real_nvp", "--steps", "60", "--batch-size", "64", "--layers", "2", "--width", "8")


def test_student_has_the_columns_of_its_teacher(command, model):
    result = command("distill", model, "-o", "s.safetensors", "--report", "r.html", *QUICK)
    assert result.code == 0, result
    assert "KL(student | teacher)" in result.out
    notes = read_notes("s.safetensors")
    assert notes["columns"] == read_notes(model)["columns"]
    assert notes["source"] == model.name
    assert notes["fidelity"]["n"] == 10_000
    assert load("s.safetensors").shape == load(model).shape
    assert "Student against teacher" in Path("r.html").read_text()
    samples = command("sample", "s.safetensors", "-n", "20", "-o", "x.csv", "--json")
    assert samples.json["columns"] == ["a", "b", "c"]


@pytest.mark.slow
def test_conditional_student_needs_contexts(command, conditional, table):
    refused = command("distill", conditional, *QUICK)
    assert refused.code == 2
    assert "conditional on c: pass a table" in refused.err
    result = command("distill", conditional, "--contexts", table, *QUICK, "--json")
    assert result.code == 0, result
    assert result.json["context_columns"] == ["c"]
    assert result.json["fidelity"]["modes"] == []


def test_invalid_distillations_are_refused(command, model, table):
    for arguments, message in (
        (("--flow", "nothing"), "expected one of"),
        (("--flow", "glow"), "'glow' models pictures"),
        (("--contexts", table), "the model has no context"),
        (("--forward", "2"), "2"),
        (("-o", model), "used twice in the same command"),
    ):
        result = command("distill", model, *QUICK, *arguments)
        assert result.code in (1, 2)
        assert message in result.err
        assert result.err.count("\n") == 1
    assert command("distill", "none.safetensors").code == 1
    save("i.safetensors", pf.Dequantised(pf.glow((2, 2, 1), n_scales=1, n_layers=1, width=4, levels=4, key=0), 4))
    result = command("distill", "i.safetensors", *QUICK)
    assert result.code == 2
    assert "a model of pictures" in result.err


def test_figures_that_are_not_finite_are_saved_as_none(tmp_path):
    """The student is saved although the tail of the weights is unknown or a standard error is infinite."""
    from pushforward.cli.printer import strict_json

    figures = strict_json({"pareto_k": float("nan"), "errors": [float("inf"), 0.5], "modes": [{"off": -float("inf")}]})
    assert figures == {"pareto_k": None, "errors": [None, 0.5], "modes": [{"off": None}]}
    save(tmp_path / "f.safetensors", pf.nice(dim=2, n_layers=2, width=4, key=0), notes={"fidelity": figures})
