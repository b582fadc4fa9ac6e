"""The HTML reports of `fit` and `demo`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.held_out import Split
from pushforward.cli.scoring import Row, draw_rows, versions
from pushforward.fields import count_parameters
from pushforward.report import write_report


def fit_report(
    path: Path, data: Path, model: Any, history: Any, rows: Sequence[Row], split: Split, seed: int, overwrite: bool
) -> None:
    """Held-out rows beside as many samples, drawn at the rows' own contexts."""
    given = split.test_context
    samples = draw_rows(model, len(split.test) if given is None else (), seed, given)
    write_report(
        path,
        title=f"{rows[0].name} fitted to {data.name}",
        leaderboard=rows,
        history=history,
        data=split.test,
        samples=samples,
        columns=split.columns,
        facts={
            "columns": ", ".join(split.columns),
            **({"given": ", ".join(split.context_columns)} if split.context_columns else {}),
            "rows": f"{split.n_rows:,}; the scores are those of {rows[0].setting}",
            **_common(model, seed),
        },
        model=rows[0].name,
        overwrite=overwrite,
    )


def demo_report(
    path: Path, data: Any, model: Any, history: Any, rows: Sequence[Row], row: Row, samples: np.ndarray,
    settings: dict[str, Any], training: dict[str, Any], seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """The demo's leaderboard with the flow as its subject."""
    write_report(
        path,
        title="A spline flow of a household's electricity",
        leaderboard=rows,
        history=history,
        data=data.test,
        samples=samples,
        columns=[f"{name} ({unit})" for name, unit in zip(data.columns, data.units, strict=True)],
        facts={
            "flow": "nsf: " + _settings(settings),
            "training": _settings(training),
            "rows": f"{len(data.train):,} to train, {len(data.validation):,} to choose by, {len(data.test):,} to test",
            **_common(model, seed),
        },
        model=row.name,
        attribution=data.attribution,
        overwrite=overwrite,
    )


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _common(model: Any, seed: int) -> dict[str, object]:
    return {"trained parameters": f"{count_parameters(model):,}", "seed": seed, **versions()}
