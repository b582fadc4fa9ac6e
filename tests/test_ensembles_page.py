"""The code of docs/ensembles.md runs, with small flows and one epoch."""

import functools
import re
from pathlib import Path

import pytest

import pushforward as pf

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ensembles.md"


@pytest.mark.slow
def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pf, "nsf", functools.partial(pf.nsf, n_layers=2, width=4))
    monkeypatch.setattr(pf, "fit", functools.partial(pf.fit, max_epochs=1, progress=False, start="given"))
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)  # noqa: S102 (the page is ours)
    assert len(names["flows"]) == 8
    assert names["log_odds"].shape == (2000, 2)
