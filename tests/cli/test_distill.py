"""`pushforward distill`: a student file that draws the same columns, its report, and what is refused."""

from pathlib import Path

import pytest

import pushforward as pf
from pushforward.persistence import load, read_notes, save

QUICK = ("--steps", "60", "--batch-size", "64", "--layers", "2", "--width", "8")


def test_a_student_takes_its_teachers_place(command, model):
    said = command("distill", model, "-o", "s.safetensors", "--report", "r.html", *QUICK)
    assert said.code == 0, said
    assert "KL(student | teacher)" in said.out
    notes = read_notes("s.safetensors")
    assert notes["columns"] == read_notes(model)["columns"]
    assert notes["source"] == model.name
    assert notes["fidelity"]["n"] == 10_000
    assert load("s.safetensors").shape == load(model).shape
    assert "Student against teacher" in Path("r.html").read_text()
    drawn = command("sample", "s.safetensors", "-n", "20", "-o", "x.csv", "--json")
    assert drawn.json["columns"] == ["a", "b", "c"]


@pytest.mark.slow
def test_a_conditional_student_needs_contexts(command, conditional, table):
    refused = command("distill", conditional, *QUICK)
    assert refused.code == 2
    assert "conditional on c: pass a table" in refused.err
    said = command("distill", conditional, "--contexts", table, "--flow", "real_nvp", *QUICK, "--json")
    assert said.code == 0, said
    assert said.json["context_columns"] == ["c"]
    assert said.json["fidelity"]["modes"] == []


def test_what_cannot_be_distilled_is_told(command, model, table):
    for arguments, words in (
        (("--flow", "nothing"), "expected one of"),
        (("--flow", "glow"), "'glow' models pictures"),
        (("--contexts", table), "the model has no context"),
        (("--forward", "2"), "2"),
        (("-o", model), "another part in the same command"),
    ):
        said = command("distill", model, *QUICK, *arguments)
        assert said.code in (1, 2)
        assert words in said.err
        assert said.err.count("\n") == 1
    assert command("distill", "none.safetensors").code == 1
    save("i.safetensors", pf.Dequantised(pf.glow((2, 2, 1), n_scales=1, n_layers=1, width=4, levels=4, key=0), 4))
    said = command("distill", "i.safetensors", *QUICK)
    assert said.code == 2
    assert "a model of pictures" in said.err


def test_figures_without_a_number_are_saved_as_none(tmp_path):
    """A tail of the weights that cannot be told, or an infinite standard error, must not cost the student."""
    from pushforward.cli.distill import _finite

    figures = _finite({"pareto_k": float("nan"), "errors": [float("inf"), 0.5], "modes": [{"off": -float("inf")}]})
    assert figures == {"pareto_k": None, "errors": [None, 0.5], "modes": [{"off": None}]}
    save(tmp_path / "f.safetensors", pf.nice(dim=2, n_layers=2, width=4, key=0), notes={"fidelity": figures})
