"""The HTML reports of `fit`, `demo` and `distill`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.scoring import Row, versions
from pushforward.cli.table_split import Split
from pushforward.core.fields import count_parameters
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.reporting.report import write_distillation_report, write_image_report, write_report

_GRID = 32  # pictures of either kind
_MOST_SAMPLES = 50_000
_RANKED, _DRAWS = 1024, 63  # rows of a conditional flow, and samples at the context of each among which it is ranked


def fit_report(
    path: Path, data: Path, model: Any, history: Any, rows: Sequence[Row], split: Split, seed: int, overwrite: bool, *,
    certificate: Any = None, schema: Any = None, no_gain: str = "", remarks: Sequence[str] = (),
) -> None:  # fmt: skip
    """Held-out rows beside samples, drawn at the rows' own contexts.

    Args:
        path, data, model, history, rows, split, seed, overwrite: as `pushforward fit` has them.
        certificate: what `pushforward.check` found, or its `to_dict()`.
        schema: what each column holds.
        no_gain, remarks: as for `write_report`.
    """
    test, given = split.test, split.test_context
    samples = _samples(model, len(test), seed, given)
    # Samples of a conditional flow stand at the contexts of the first rows, as many as are drawn.
    beside = None if given is None else given[: len(samples)]
    write_report(
        path,
        title=f"{rows[0].name} fitted to {data.name}",
        leaderboard=rows,
        history=history,
        data=test,
        samples=samples,
        columns=split.columns,
        facts={
            "columns": ", ".join(split.columns),
            **({"given": ", ".join(split.context_columns)} if split.context_columns else {}),
            "rows": f"{split.n_rows:,}; the scores are those of {rows[0].setting}",
            "split": split.rule + _copies(split),
            **_common(model, seed),
        },
        certificate=certificate,
        schema=schema,
        flow=model,
        scores=log_prob_float64(model, test, given),
        sample_scores=log_prob_float64(model, samples, beside),
        row_numbers=split.test_rows,
        draws=None if given is None else sample_float64(model, (_DRAWS,), seed, given[:_RANKED]),
        model=rows[0].name,
        no_gain=no_gain,
        remarks=remarks,
        overwrite=overwrite,
    )


def _copies(split: Split) -> str:
    n_copies = int(split.is_copy.sum())
    return f"; {n_copies:,} of the {len(split.test):,} test rows have an equal training row" if n_copies else ""


def _samples(model: Any, n: int, seed: int, given: Any) -> Any:
    """As many samples as rows, at their contexts, up to a number at which no picture changes."""
    count = min(n, _MOST_SAMPLES)
    return sample_float64(model, count if given is None else (), seed, None if given is None else given[:count])


def image_report(
    path: Path, data: Path, model: Any, history: Any, rows: Sequence[Any], images: Any, seed: int, overwrite: bool, *,
    n_copies: int = 0,
) -> None:  # fmt: skip
    """Test pictures beside samples; `n_copies` of them equal another picture."""
    n_train, n_validation, n_test = (len(part) for part in (images.train, images.validation, images.test))
    height, width, channels = images.shape
    write_image_report(
        path,
        title=f"{rows[0].name} fitted to {data.resolve().name}",
        rows=rows,
        history=history,
        test=images.test[:_GRID],
        samples=sample_float64(model, _GRID, seed),
        levels=images.levels,
        facts={
            "pictures": f"{height} x {width}, {'grey' if channels == 1 else 'three colours'}, {images.levels} levels",
            "split": f"{n_train:,} to train, {n_validation:,} to choose by, {n_test:,} to test"
            + (f"; {n_copies:,} of these equal a picture of the others" if n_copies else ""),
            **_common(model, seed),
        },
        overwrite=overwrite,
    )


def demo_report(
    path: Path, data: Any, model: Any, history: Any, rows: Sequence[Row], row: Row, samples: np.ndarray,
    settings: dict[str, Any], training: dict[str, Any], seed: int, overwrite: bool, *, certificate: Any = None,
    schema: Any = None,
) -> None:  # fmt: skip
    """The demo's leaderboard with the flow as its subject; certificate and schema as for `fit_report`."""
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
        certificate=certificate,
        schema=schema,
        flow=model,
        scores=log_prob_float64(model, data.test),
        sample_scores=log_prob_float64(model, samples),
        model=row.name,
        attribution=data.attribution,
        overwrite=overwrite,
    )


def distillation_report(
    path: Path, data: Path, recipe: str, teacher: Any, student: Any, found: Any, columns: Sequence[str], seed: int,
    overwrite: bool,
) -> None:  # fmt: skip
    """Samples of the student over those of its teacher."""
    write_distillation_report(
        path,
        title=f"{recipe} taught by {data.name}",
        found=found,
        columns=columns,
        doubts=found.doubts(),
        facts={
            "columns": ", ".join(columns),
            "trained parameters, teacher": f"{count_parameters(teacher):,}",
            "trained parameters, student": f"{count_parameters(student):,}",
            "seed": seed,
            **versions(),
        },
        overwrite=overwrite,
    )


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _common(model: Any, seed: int) -> dict[str, object]:
    return {"trained parameters": f"{count_parameters(model):,}", "seed": seed, **versions()}
