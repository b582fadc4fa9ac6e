"""The report: one self-contained file, correct summaries, escaped names, atomic writes."""

import importlib
import math
import os
import re
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pages import BOARD, HOSTILE, Page, history, report_text, row

from pushforward.errors import MissingExtra
from pushforward.reporting.text import best_other, describe_gain, describe_training, duration, gain_error, summary


def test_file_has_no_external_resources(tmp_path):
    page = Page(report_text(tmp_path / "report.html", attribution="Data: see https://example.org/data"))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:"))
            elif not name.startswith("xmlns"):
                assert "//" not in (value or "")
    assert "@import" not in page.text
    assert not re.search(r"url\((?!#)", page.text)
    assert "Data: see https://example.org/data" in page.text
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_file_is_small_and_ids_are_unique(tmp_path):
    random = np.random.default_rng(0)
    wide = random.normal(size=(20_000, 8)) ** 3
    text = report_text(tmp_path / "report.html", data=wide, samples=wide[::-1], columns=list("abcdefgh"))
    assert len(text) < 1_500_000
    identities = re.findall(r'<[^<>]* id="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
        assert target in identities


def test_pictures_use_the_colours_of_the_page(tmp_path):
    text = report_text(tmp_path / "report.html", columns=["#0072b2", "b"])
    pictures = text[text.index("<svg") :]
    assert "prefers-color-scheme: dark" in text
    assert pictures.count("var(--data)") > 5
    assert not re.search(r"<[^<>]*#(0072b2|d55e00|24292f)", pictures)
    assert ">#0072b2</text>" in pictures  # names are not replaced


def test_hostile_text_is_escaped_everywhere(tmp_path):
    text = report_text(
        tmp_path / "report.html", title=HOSTILE, columns=[HOSTILE, "$title ${lead} $"], facts={HOSTILE: HOSTILE},
        leaderboard=[row(HOSTILE, 1.0, setting=HOSTILE), row("Gaussian", 0.5)], attribution=HOSTILE,
    )  # fmt: skip
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 7
    assert "&lt;script&gt;al" in text[text.index('id="corner-') :]  # shortened in the picture
    assert "$title ${lead} $" in text


@pytest.mark.parametrize("name", ["\ud800", "\x00\x1b[31m", "\N{CJK UNIFIED IDEOGRAPH-6570}", "", "]]>-->"])
def test_any_name_can_be_written(tmp_path, name):
    Page(report_text(tmp_path / "report.html", columns=[name, "b"], facts={name: name}))


def test_leaderboard_is_sorted_and_has_gains(tmp_path):
    text = report_text(tmp_path / "report.html", leaderboard=BOARD[::-1], model="Flow")
    table = text[text.index("<h2>Leaderboard") : text.index("<h2>Training")]
    assert "Gain over the Kernel density" in table  # the best of the others
    names = re.findall(r'<th scope="row">([^<]*)</th>', table)
    assert names == ["Flow", "Kernel density", "Gaussian", "Broken"]
    assert "+2.00" in table
    assert "2.0 ms" in table
    assert "Sample" not in table  # no value there
    assert len(re.findall(r"<tr class=subject>", table)) == 1


def test_summary_states_the_gain_over_the_best_of_the_others():
    flow, gaussian, kernel, broken = BOARD
    assert best_other(BOARD, flow) is kernel
    assert best_other(BOARD, kernel) is flow
    assert best_other([flow, broken], flow) is None
    assert summary(flow, kernel, 500) == [
        "Flow gains 2.00 nats per row over the Kernel density: in the geometric mean, a test row is 7.4 times as "
        "likely under it.",
        "Flow scores 3.000 \N{PLUS-MINUS SIGN} 0.010 nats per row on 500 test rows.",
    ]
    assert "0.60 nats per row behind the Gaussian" in summary(row("Flow", -1.0), gaussian, 500)[0]
    assert summary(flow, kernel, 500, "No gain.")[0] == "No gain."
    assert "was not scored" in summary(broken, gaussian, 500)[0]
    assert "cannot be compared" in summary(row("Flow", -math.inf), gaussian, 500)[0]
    assert "cannot be compared" in summary(row("Flow", math.nan), gaussian, 500)[0]


def test_error_of_a_gain_is_that_of_the_differences_of_the_same_rows():
    scores = np.random.default_rng(0).normal(size=(2, 50)) + 9 * np.arange(50)
    model, other = (row(name, float(part.mean()), scores=part) for name, part in zip("ab", scores, strict=True))
    difference = scores[0] - scores[1]
    assert gain_error(model, other) == pytest.approx(difference.std(ddof=1) / math.sqrt(50))
    assert gain_error(row("a", 0.0), other) is None
    assert "level with the b" in summary(model, other, 50)[0]
    assert "Only 50 rows were tested" in summary(model, other, 50)[0]


@pytest.mark.parametrize(
    ("nats", "message"),
    [
        (0.05, " 5.1% likelier"),
        (2.25, " 9.5 times"),
        (2.3, " 10 times"),
        (7.36, " 1,600 times"),
        (99, " more than a million"),
    ],
)
def test_gain_is_stated_as_a_factor(nats, message):
    assert message in describe_gain(nats, None)


def test_describe_training():
    run = history()
    assert describe_training(run) == (
        "3 epochs in 5.0 s, 1.5 s of them compiling; the model has the weights of epoch 2. "
        "Training stopped: patience ran out."
    )
    run.skipped_steps, run.stop_reason, run.best_epoch = 2, "early stopping", -1
    assert "compiling. Training stopped early, when" in describe_training(run)
    assert describe_training(run).endswith("2 steps were skipped because the loss was not finite.")


def test_duration_formats():
    texts = ["\N{EN DASH}", "under 0.1 ms", "0.1 ms", "10 ms", "1.0 s", "10 s", "1 min 40 s", "1 h 2 min"]
    times = (None, 2e-5, 6e-5, 0.00999, 0.9999, 9.96, 99.6, 3725)
    assert [duration(t) for t in times] == texts


def test_existing_file_is_overwritten_only_on_request(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"report\.html exists already.*overwrite=True"):
        report_text(path)
    assert path.read_text() == "old"
    assert "<h1>A title</h1>" in report_text(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "report.html"
    path.write_text("old")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", interrupt)
    else:
        monkeypatch.setattr(type(path), "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report_text(path, overwrite=True)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_equal_input_gives_equal_bytes_and_the_default_mode(tmp_path):
    assert report_text(tmp_path / "a.html") == report_text(tmp_path / "b.html")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "a.html").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("history_", [None, SimpleNamespace(train=[])])
def test_no_training_section_without_epochs(tmp_path, history_):
    assert "<h2>Training" not in report_text(tmp_path / "report.html", history=history_)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("absent/report.html", {}, "the folder .* does not exist"),
        (".", {}, "is a folder"),
        ("r.html", {"leaderboard": []}, "leaderboard: expected at least one row"),
        ("r.html", {"model": "Flaw"}, "model: expected one of .*'Flow'.* got 'Flaw'"),
        ("r.html", {"samples": [[np.inf, 0.0]]}, "samples: 1 of 1 rows"),
    ],
)
def test_bad_input_is_an_error_and_writes_nothing(tmp_path, name, changes, message):
    with pytest.raises(ValueError, match=message):
        report_text(tmp_path / name, **changes)
    assert list(tmp_path.iterdir()) == []


def test_missing_jinja_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "pushforward.reporting.html")
    with pytest.raises(MissingExtra, match=r"Writing a page needs jinja2, .*pushforward\[report\]"):
        importlib.import_module("pushforward.reporting.html")
