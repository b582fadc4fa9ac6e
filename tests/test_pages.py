"""The scripts of pages: those of docs/extend, and others with small flows and few epochs."""

import functools

import pytest
from compiling import quickly_compiled
from documents import DOCS, run_page
from sampling import quick_few

import pushforward as pf

PAGES = [path.stem for path in sorted((DOCS / "extend").glob("*.md")) if path.stem != "flowjax"]  # see tests/flowjax
WORKED_EXAMPLE = "fast_solve"
LINES = {WORKED_EXAMPLE: 60}  # of code, the most in a page; 25 in the others


@pytest.mark.parametrize("name", PAGES)
def test_page_is_short(name):
    text = (DOCS / "extend" / f"{name}.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert text.count("```python\n") == 1
    assert sum(bool(line.strip()) for line in code.splitlines()) <= LINES.get(name, 25)
    assert name == WORKED_EXAMPLE or ("pf.save(" in code and "pf.load(" in code)


@pytest.mark.filterwarnings("ignore:fit:UserWarning")  # the pages train for a few epochs
@pytest.mark.parametrize("name", quick_few(PAGES))
def test_page_runs(name, tmp_path, capsys):
    """A user brings something, fits a flow with it, saves, loads and checks it."""
    with quickly_compiled():
        variables = run_page(f"extend/{name}.md", tmp_path)
    assert "False" not in capsys.readouterr().out
    assert name == WORKED_EXAMPLE or variables["certificate"].ok, str(variables["certificate"])


@pytest.mark.slow
def test_page_of_ensembles_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(pf, "nsf", functools.partial(pf.nsf, n_layers=2, width=4))
    monkeypatch.setattr(pf, "fit", functools.partial(pf.fit, max_epochs=1, progress=False, start="given"))
    with quickly_compiled():
        variables = run_page("ensembles.md", tmp_path)
    assert len(variables["flows"]) == 4
    assert variables["log_odds"].shape == (5000, 2)
