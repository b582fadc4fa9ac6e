"""Calibration section: the rank of each row among samples, by column and along random directions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.diagnostics.calibration import ranks as ranks_at_contexts
from pushforward.diagnostics.calibration import uniform_distances
from pushforward.errors import ShapeError
from pushforward.reporting.html import figure_html
from pushforward.reporting.plots import calibration
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.pit import effective_count, kolmogorov_band
from pushforward.reporting.report.sections import Section
from pushforward.reporting.text import clean, join_with_and

N_DIRECTIONS = 16
_LEVEL, _SEED, _MAX_NAMED = 0.95, 0, 5


def calibration_section(data: Any, samples: Any, columns: Sequence[str], draws: Any = None) -> Section:
    """PITs of each column and, with two or more columns, of random projections, with a confidence band and a verdict.

    Without `draws` the probability of a row is its rank among all samples, and the band is that of two samples (n, m).
    For a conditional flow, whose samples were drawn at the contexts of the rows, this band is conservative. With
    `draws` each row is ranked among samples at its context, which are independent between rows: the ranks are exactly
    uniform, and the band is Kolmogorov's.

    Args:
        data: (n, d) rows.
        samples: (m, d) samples of the model.
        columns: d names.
        draws: (k, n, d) samples at the context of each row; None for a flow without one.
    """
    rows = table("data", data)
    width = rows.shape[1]
    model_samples = table("samples", samples, width)
    reference, n_reference = references(rows, model_samples, draws)
    groups, names = [np.eye(width)], [str(column) for column in columns]
    if width > 1:
        groups.append(directions(rows, N_DIRECTIONS))
        names += [f"sum {index + 1}" for index in range(N_DIRECTIONS)]
    axes = np.concatenate(groups)
    pit = probabilities(rows, reference, axes)
    picture = inline_svg(
        calibration(pit, columns=names, level=_LEVEL, references=n_reference, n_projections=len(axes) - width),
        "calibration",
        "Calibration: how far the ranks of rows among samples are from uniform",
    )
    band = kolmogorov_band(effective_count(len(pit), n_reference), pit.shape[1], _LEVEL)
    distances = uniform_distances(pit)
    return Section(
        "Calibration", figure_html(picture, _describe_distances(distances, band, names, width)), "calibration"
    )


def references(rows: np.ndarray, samples: np.ndarray, draws: Any) -> tuple[np.ndarray, int | None]:
    """Samples (k, n, d) or (m, 1, d) among which rows (n, d) are ranked, and m if they are the same for all rows."""
    if draws is None:
        return samples[:, None], len(samples)
    reference = np.asarray(draws, np.float64)
    if reference.ndim != 3 or reference.shape[1:] != rows.shape or not len(reference):
        raise ShapeError(f"draws: expected shape (k, {len(rows)}, {rows.shape[1]}) with k >= 1, got {reference.shape}.")
    return reference, None


def probabilities(rows: np.ndarray, reference: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Probabilities (n, K) of rows (n, d) under the model, along axes (K, d)."""
    random = np.random.default_rng(_SEED)
    return np.stack([ranks(rows @ axis, reference @ axis, random) for axis in axes], axis=1)


def ranks(rows: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Probabilities (n,) under the model; ties, which rounded values have, are broken at random.

    Args:
        rows: (n,) numbers.
        reference: (m, 1) samples, the same for all rows: u = G_m(x). Or (k, n), where column i belongs to row i:
            u = (rank + v) / (k + 1) with v uniform, which is exactly uniform if row and samples have one distribution.
        random: generator for the ties.
    """
    if reference.shape[1] > 1:
        return ranks_at_contexts(rows, reference, random)
    v, ordered = random.uniform(size=len(rows)), np.sort(reference[:, 0])
    below, up_to = (np.searchsorted(ordered, rows, side=side) for side in ("left", "right"))
    return (below + v * (up_to - below)) / len(ordered)


def directions(rows: np.ndarray, count: int) -> np.ndarray:
    """Random directions (count, d) of standardised rows, as weights of the columns; deterministic."""
    scale = rows.std(axis=0)
    spread = np.where(scale > 0, scale, 1.0)
    normals = np.random.default_rng(_SEED).normal(size=(count, rows.shape[1]))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True) / spread


def _describe_distances(distances: np.ndarray, band: float, names: Sequence[str], width: int) -> str:
    """State which columns leave the band and by how much, or the largest distance if none does."""
    projected = len(distances) - width
    subject = f"{_count_columns(width)}{f' and {projected} weighted sums of columns' if projected else ''}"
    order = np.argsort(-distances, kind="stable")
    outside = [index for index in order if distances[index] > band]
    if not outside:
        verb = "stay" if len(distances) > 1 else "stays"
        subject = f"{subject[0].upper()}{subject[1:]}"
        return f"{subject} {verb} in the band, at most {distances.max():.1%} of the rows from uniform."
    indices = [index for index in outside if index < width]
    parts = []
    if indices:
        named = [f"{_shorten(names[index])} ({distances[index]:.1%} of the rows)" for index in indices[:_MAX_NAMED]]
        rest = len(indices) - len(named)
        parts.append(
            join_with_and([*named, f"{rest} more columns" if rest > 1 else "1 more column"] if rest else named)
        )
    if count := len(outside) - len(indices):
        parts.append(f"{count} of {projected} weighted sums of columns")
    rest = " All others stay in it." if len(outside) < len(distances) else ""
    return f"Outside the band: {', and '.join(parts)}.{rest}"


def _count_columns(width: int) -> str:
    return {1: "the column", 2: "both columns"}.get(width, f"all {width} columns")


def _shorten(name: str) -> str:
    text = clean(name)
    return text if len(text) <= 40 else text[:39] + "\N{HORIZONTAL ELLIPSIS}"
