"""`pushforward check`: what it prints in narrow and wide terminals, what it tells of the file, how it ends."""

import numpy as np
import pytest
from compiling import quickly_compiled
from sick_flows import SMALL, saturated_scale
from small import rows

import pushforward as pf
from pushforward import diagnostics
from pushforward.diagnostics import Certificate, Row

SICK = Certificate(
    (
        Row("finite values", 0.0, 0.0, True, "All are."),
        Row("integral of the density", 0.5, 0.005, False, "It is 0.5.", "the density is off", "Look at its layers."),
        Row("over-fitting", None, None, None, "No training rows."),
    ),
    "float32",
)


@pytest.fixture
def checked(monkeypatch):
    """The arguments with which the command calls `check`, which finds SICK."""
    seen = {}

    def check(flow, x, **given):
        seen.update(given, x=x)
        return SICK

    monkeypatch.setattr(diagnostics, "check", check)
    return seen


@pytest.fixture
def plain(tmp_path):
    """A model file of three columns; the command runs in the same folder."""

    def write(**notes):
        flow = pf.real_nvp(3, key=0, **SMALL)
        pf.save(tmp_path / "plain.safetensors", flow, notes={"columns": ["a", "b", "c"], **notes}, overwrite=True)
        return "plain.safetensors"

    return write


def test_a_narrow_terminal_gets_the_plain_table(command, plain, checked):
    said = command("check", plain())
    assert said.code == 1
    assert str(SICK) in said.out
    assert checked["x"] is None
    assert "Give a table" in said.out


def test_a_wide_terminal_gets_words_beside_the_numbers(command, plain, checked, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    said = command("check", plain())
    assert said.code == 1
    line = next(line for line in said.out.splitlines() if "integral of the density" in line)
    assert "0.005" in line
    assert "It is 0.5." in line
    assert "Look at its layers." in said.out
    assert "\x1b[" in said.out
    assert "Not healthy in float32: the density is off" in said.out


def test_a_table_is_handed_on_with_its_names(command, plain, table, checked):
    said = command("check", plain(), table)
    assert list(checked["x"].columns) == ["a", "b", "c"]
    np.testing.assert_allclose(checked["x"].to_numpy(), rows())
    assert "When it was made" not in said.out


def test_rows_are_numbered_as_in_the_file(command, plain, checked, tmp_path):
    (tmp_path / "gaps.csv").write_text("a,b,c\n1000,10,5\n1000,,5\n1010,10.1,6\n")
    command("check", plain(), "gaps.csv", "--drop-na")
    assert checked["x"].numbers.tolist() == [1, 3]
    assert "Left out: 1 row with a missing cell" in command("check", plain(), "gaps.csv", "--drop-na").out


def test_fit_hands_on_the_numbers_of_its_test_rows(command, table, monkeypatch):
    seen = []
    monkeypatch.setattr(diagnostics, "check", lambda flow, x, **given: seen.append(x) or SICK)
    assert command("fit", table, "--epochs", "1", "--layers", "2", "--width", "8", "-o", "m.safetensors").code == 0
    np.testing.assert_allclose(seen[0].rows, rows()[seen[0].numbers - 1])


def test_what_was_found_when_it_was_made_is_told(command, plain, checked):
    made = Certificate((Row("over-fitting", 0.1, 0.3, True, "A gap of 0.1 nats."),), "float32")
    model = plain(certificate=made.to_dict(), held_out_nats=-3.5, held_out="40 test rows", gaussian_log_likelihood=-4.0)
    said = command("check", model)
    assert f"When it was made: {made.verdict}" in said.out
    assert "over-fitting: A gap of 0.1 nats." in said.out
    assert "-3.500 nats a row on 40 test rows (a Gaussian: -4.000)" in said.out
    told = command("check", model, "--json").json
    assert told["when_made"]["verdict"] == made.verdict
    assert told["verdict"] == SICK.verdict


def test_a_certificate_that_cannot_be_read_is_an_error(command, plain, checked):
    said = command("check", plain(certificate={"rows": 3}))
    assert said.code == 1
    assert said.err == (
        "pushforward: plain.safetensors: its notes have no readable certificate: expected what Certificate.to_dict "
        "made, got something else. Check the model again.\n"
    )


def test_a_sick_model_is_named(command, tmp_path):
    pf.save(tmp_path / "sick.safetensors", saturated_scale()["flow"])
    with quickly_compiled():
        said = command("check", "sick.safetensors", "--json")
    assert said.code == 1
    assert "a scale is saturated at its bound" in said.json["verdict"]
