"""The HTML reports of `fit`, `demo` and `distill`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.outputs import versions
from pushforward.cli.table_split import Split
from pushforward.core.fields import count_parameters
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.reporting.report import write_distillation_report, write_image_report, write_report
from pushforward.tabular.leaderboard import LeaderboardRow

_N_IMAGES = 32  # images in each grid of the report
_MAX_SAMPLES = 50_000
_RANKED_ROWS, _DRAWS = 1024, 63  # calibration of a conditional flow: rows, and samples at the context of each row


def fit_report(
    path: Path, data: Path, model: Any, history: Any, rows: Sequence[LeaderboardRow], split: Split, seed: int,
    overwrite: bool, *, certificate: Any = None, schema: Any = None, no_gain: str = "", remarks: Sequence[str] = (),
    extent: Any = None,
) -> None:  # fmt: skip
    """Write the report of `fit`: test rows against samples drawn at the contexts of these rows.

    Args:
        path, data, model, history, rows, split, seed, overwrite: those of `pushforward fit`.
        certificate: the result of `pushforward.check`, or its `to_dict()`.
        schema: the type of each column.
        no_gain, remarks, extent: as for `write_report`.
    """
    test, contexts = split.test, split.test_context
    samples = _samples(model, len(test), seed, contexts)
    # Samples of a conditional flow are drawn at the contexts of the first rows.
    sample_contexts = None if contexts is None else contexts[: len(samples)]
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
            **_common_facts(model, seed),
        },
        certificate=certificate,
        schema=schema,
        flow=model,
        scores=log_prob_float64(model, test, contexts),
        sample_scores=log_prob_float64(model, samples, sample_contexts),
        row_numbers=split.test_rows,
        draws=None if contexts is None else sample_float64(model, (_DRAWS,), seed, contexts[:_RANKED_ROWS]),
        model=rows[0].name,
        no_gain=no_gain,
        remarks=remarks,
        extent=extent,
        overwrite=overwrite,
    )


def _copies(split: Split) -> str:
    n_copies = int(split.is_copy.sum())
    return f"; {n_copies:,} of the {len(split.test):,} test rows have an equal training row" if n_copies else ""


def _samples(model: Any, n: int, seed: int, contexts: Any) -> Any:
    """As many samples as rows, at their contexts; more than 50,000 would not change the pictures."""
    count = min(n, _MAX_SAMPLES)
    return sample_float64(
        model, count if contexts is None else (), seed, None if contexts is None else contexts[:count]
    )


def image_report(
    path: Path, data: Path, model: Any, history: Any, rows: Sequence[Any], images: Any, seed: int, overwrite: bool, *,
    n_copies: int = 0,
) -> None:  # fmt: skip
    """Write the report of a flow of images: test images and samples; `n_copies` test images equal another image."""
    n_train, n_validation, n_test = (len(part) for part in (images.train, images.validation, images.test))
    height, width, channels = images.shape
    write_image_report(
        path,
        title=f"{rows[0].name} fitted to {data.resolve().name}",
        rows=rows,
        history=history,
        test=images.test[:_N_IMAGES],
        samples=sample_float64(model, _N_IMAGES, seed),
        levels=images.levels,
        facts={
            "pictures": f"{height} x {width}, {'grey' if channels == 1 else 'three colours'}, {images.levels} levels",
            "split": f"{n_train:,} for training, {n_validation:,} for validation, {n_test:,} for the test"
            + (f"; {n_copies:,} of these equal a picture of the others" if n_copies else ""),
            **_common_facts(model, seed),
        },
        overwrite=overwrite,
    )


def demo_report(
    path: Path, data: Any, model: Any, history: Any, rows: Sequence[LeaderboardRow], row: LeaderboardRow,
    samples: np.ndarray, settings: dict[str, Any], training: dict[str, Any], seed: int, overwrite: bool, *,
    certificate: Any = None, schema: Any = None,
) -> None:  # fmt: skip
    """Write the report of the demo; `certificate` and `schema` as in `fit_report`."""
    every_row = np.concatenate([data.train, data.validation, data.test])
    write_report(
        path,
        title="A spline flow of a household's electricity",
        leaderboard=rows,
        history=history,
        data=data.test,
        samples=samples,
        columns=[f"{name} ({unit})" for name, unit in zip(data.columns, data.units, strict=True)],
        facts={
            "flow": "nsf: " + _format_settings(settings),
            "training": _format_settings(training),
            "rows": "{:,} for training, {:,} for validation, {:,} for the test".format(
                *map(len, (data.train, data.validation, data.test))
            ),
            **_common_facts(model, seed),
        },
        certificate=certificate,
        schema=schema,
        flow=model,
        scores=log_prob_float64(model, data.test),
        sample_scores=log_prob_float64(model, samples),
        model=row.name,
        attribution=data.attribution,
        extent=(every_row.min(0), every_row.max(0)),
        overwrite=overwrite,
    )


def distillation_report(
    path: Path, data: Path, recipe: str, teacher: Any, student: Any, fidelity: Any, columns: Sequence[str], seed: int,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write the report of `distill`: samples of the student over samples of the teacher."""
    write_distillation_report(
        path,
        title=f"{recipe} taught by {data.name}",
        fidelity=fidelity,
        columns=columns,
        doubts=fidelity.doubts(),
        facts={
            "columns": ", ".join(columns),
            "trained parameters, teacher": f"{count_parameters(teacher):,}",
            "trained parameters, student": f"{count_parameters(student):,}",
            "seed": seed,
            **versions(),
        },
        overwrite=overwrite,
    )


def _format_settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _common_facts(model: Any, seed: int) -> dict[str, object]:
    return {"trained parameters": f"{count_parameters(model):,}", "seed": seed, **versions()}
