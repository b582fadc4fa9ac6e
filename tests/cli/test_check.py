"""`pushforward check`: output in narrow and wide terminals, notes of the file, exit codes."""

import numpy as np
import pytest
from compiling import quickly_compiled
from pages import TECHNICAL
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
def certify_arguments(monkeypatch):
    """The arguments with which the command calls `check`, which returns SICK."""
    arguments = {}

    def check(flow, x, **options):
        arguments.update(options, x=x)
        return SICK

    monkeypatch.setattr(diagnostics, "check", check)
    return arguments


@pytest.fixture
def plain(tmp_path):
    """A function that writes a model file of three columns to the folder of the command."""

    def write(**notes):
        flow = pf.real_nvp(3, key=0, **SMALL)
        pf.save(tmp_path / "plain.safetensors", flow, notes={"columns": ["a", "b", "c"], **notes}, overwrite=True)
        return "plain.safetensors"

    return write


def test_verdict_is_printed_without_technical_words(command, plain, certify_arguments):
    result = command("check", plain())
    assert result.code == 1
    assert result.out.startswith("Do not use this model: the probabilities of the model do not add up to one")
    assert "  What to do: Fit again with the default flow." in result.out
    assert "1 test passed, 1 failed, 1 could not be made. All tests: --details." in result.out
    assert not TECHNICAL.search(result.out)


def test_narrow_terminal_prints_the_plain_table(command, plain, certify_arguments):
    result = command("check", plain(), "--details")
    assert result.code == 1
    assert str(SICK) in result.out
    assert certify_arguments["x"] is None
    assert "Give a table" in result.out


def test_wide_terminal_prints_messages_in_the_table(command, plain, certify_arguments, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    result = command("check", plain(), "--details")
    assert result.code == 1
    line = next(line for line in result.out.splitlines() if "integral of the density" in line)
    assert "0.005" in line
    assert "It is 0.5." in line
    assert "Look at its layers." in result.out
    assert "\x1b[" in result.out
    assert "Not healthy in float32: the density is off" in result.out


def test_certificate_gets_the_column_names(command, plain, table, certify_arguments):
    result = command("check", plain(), table)
    assert list(certify_arguments["x"].columns) == ["a", "b", "c"]
    np.testing.assert_allclose(certify_arguments["x"].to_numpy(), rows())
    assert "When it was made" not in result.out


def test_certificate_gets_row_numbers_of_the_file(command, plain, certify_arguments, tmp_path):
    (tmp_path / "gaps.csv").write_text("a,b,c\n1000,10,5\n1000,,5\n1010,10.1,6\n")
    command("check", plain(), "gaps.csv", "--drop-na")
    assert certify_arguments["x"].numbers.tolist() == [1, 3]
    assert "Left out: 1 row with a missing cell" in command("check", plain(), "gaps.csv", "--drop-na").out


def test_fit_passes_row_numbers_to_the_certificate(command, table, monkeypatch):
    arguments = []
    monkeypatch.setattr(diagnostics, "check", lambda flow, x, **options: arguments.append(x) or SICK)
    assert command("fit", table, "--epochs", "1", "--layers", "2", "--width", "8", "-o", "m.safetensors").code == 0
    np.testing.assert_allclose(arguments[0].rows, rows()[arguments[0].numbers - 1])


def test_stored_certificate_is_printed(command, plain, certify_arguments):
    stored = Certificate((Row("over-fitting", 0.1, 0.3, True, "A gap of 0.1 nats."),), "float32")
    model = plain(certificate=stored.to_dict(), held_out_nats=-3.5, held_out="40 test rows", gaussian_nats=-4.0)
    result = command("check", model)
    assert f"When it was made:\n{stored.summary}" in result.out
    assert "A gap of 0.1 nats." in command("check", model, "--details").out
    assert "-3.500 nats a row on 40 test rows (a Gaussian: -4.000)" in result.out
    values = command("check", model, "--json").json
    assert values["when_made"]["verdict"] == stored.verdict
    assert values["verdict"] == SICK.verdict


def test_score_repeats_the_verdict_of_an_unhealthy_model(command, plain, table):
    result = command("score", plain(certificate=SICK.to_dict()), table, "-o", "s.csv")
    assert result.code == 0
    assert result.out.startswith(f"{SICK.summary}\n  What to do: ")
    assert "healthy" not in command("score", plain(), table, "-o", "t.csv").out


def test_unreadable_certificate_is_an_error(command, plain, certify_arguments):
    result = command("check", plain(certificate={"rows": 3}))
    assert result.code == 1
    assert result.err == (
        "pushforward: plain.safetensors: its notes have no readable certificate: expected what Certificate.to_dict "
        "made, got something else. Check the model again.\n"
    )


def test_unhealthy_model_is_reported(command, tmp_path):
    pf.save(tmp_path / "sick.safetensors", saturated_scale()["flow"])
    with quickly_compiled():
        result = command("check", "sick.safetensors", "--json")
    assert result.code == 1
    assert "a scale is saturated at its bound" in result.json["verdict"]
    assert result.json["summary"].startswith("Do not")
