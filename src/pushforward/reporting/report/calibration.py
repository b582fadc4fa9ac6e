"""Calibration on a page: the rank of every row among samples, column by column and along random directions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.errors import ShapeError
from pushforward.reporting.plots import calibration
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.pit import distance, effective_count, kolmogorov_band
from pushforward.reporting.report.frame import Section, figure_html
from pushforward.reporting.report.words import clean, listed

N_DIRECTIONS = 16
_LEVEL, _SEED, _MOST_NAMED = 0.95, 0, 5


def calibration_section(data: Any, samples: Any, columns: Sequence[str], draws: Any = None) -> Section:
    """PITs of each column, and with two columns or more of random projections, with their band and a verdict.

    Without `draws` a row's probability is its rank among all samples, and the band is that of two samples (n, m): rows
    of a conditional flow, whose samples were drawn at the rows' own contexts, stay within it with more than its
    probability. With `draws` each row is ranked among samples at its own context, which are independent from row to
    row: the ranks are then uniform exactly, and the band is Kolmogorov's.

    Args:
        data: (n, d) rows.
        samples: (m, d) samples of the model.
        columns: d names.
        draws: (k, n, d) samples at the context of each row; None for a flow without one.
    """
    rows = table("data", data)
    width = rows.shape[1]
    drawn = table("samples", samples, width)
    if draws is None:
        reference, references = drawn[:, None], len(drawn)
    else:
        reference, references = np.asarray(draws, np.float64), None
        if reference.ndim != 3 or reference.shape[1:] != rows.shape or not len(reference):
            raise ShapeError(f"draws: expected shape (k, {len(rows)}, {width}) with k >= 1, got {reference.shape}.")
    every, names = [np.eye(width)], [str(column) for column in columns]
    if width > 1:
        every.append(directions(rows, N_DIRECTIONS))
        names += [f"projection {index + 1}" for index in range(N_DIRECTIONS)]
    axes = np.concatenate(every)
    random = np.random.default_rng(_SEED)
    pit = np.stack([ranks(rows @ axis, reference @ axis, random) for axis in axes], axis=1)
    picture = inline_svg(
        calibration(pit, columns=names, level=_LEVEL, references=references, n_projections=len(axes) - width),
        "calibration",
        "Calibration: how far the ranks of rows among samples are from uniform",
    )
    band = kolmogorov_band(effective_count(len(pit), references), pit.shape[1], _LEVEL)
    distances = np.array([distance(column)[0] for column in np.sort(pit, axis=0).T])
    return Section("Calibration", figure_html(picture, _in_words(distances, band, names, width)), _TERMS)


def ranks(rows: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Probabilities (n,) under the model; where values tie, as rounded ones do, a uniform number decides.

    Args:
        rows: (n,) numbers.
        reference: (m, 1) samples, the same for all rows: u = G_m(x). Or (k, n), of which column i belongs to row i: u =
            (rank + v) / (k + 1) with v uniform, which is uniform exactly if the row is a draw of the same law.
        random: for the ties.
    """
    v = random.uniform(size=len(rows))
    if reference.shape[1] == 1:
        ordered = np.sort(reference[:, 0])
        below, upto = (np.searchsorted(ordered, rows, side=side) for side in ("left", "right"))
        return (below + v * (upto - below)) / len(ordered)
    below, equal = (reference < rows).sum(0), (reference == rows).sum(0)
    return (below + v * (equal + 1)) / (len(reference) + 1)


def directions(rows: np.ndarray, count: int) -> np.ndarray:
    """Random directions (count, d) of standardised rows, as weights of the columns; the same for equal rows."""
    scale = rows.std(axis=0)
    spread = np.where(scale > 0, scale, 1.0)
    drawn = np.random.default_rng(_SEED).normal(size=(count, rows.shape[1]))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) / spread


def _in_words(distances: np.ndarray, band: float, names: Sequence[str], width: int) -> str:
    """Who leaves the band and by how much; what the widest distance is where nobody does."""
    projected = len(distances) - width
    whole = f"{_columns(width)}{f' and {projected} random projections' if projected else ''}"
    order = np.argsort(-distances, kind="stable")
    outside = [index for index in order if distances[index] > band]
    if not outside:
        stays = "stay" if len(distances) > 1 else "stays"
        whole = f"{whole[0].upper()}{whole[1:]}"
        return f"{whole} {stays} in the band, at most {distances.max():.1%} of the rows from uniform."
    among = [index for index in outside if index < width]
    found = []
    if among:
        named = [f"{_cut(names[index])} ({distances[index]:.1%} of the rows)" for index in among[:_MOST_NAMED]]
        rest = len(among) - len(named)
        found.append(listed([*named, f"{rest} more columns" if rest > 1 else "1 more column"] if rest else named))
    if count := len(outside) - len(among):
        found.append(f"{count} of {projected} random projections")
    rest = " All others stay in it." if len(outside) < len(distances) else ""
    return f"Outside the band: {', and '.join(found)}.{rest}"


def _columns(width: int) -> str:
    return {1: "the column", 2: "both columns"}.get(width, f"all {width} columns")


def _cut(name: str) -> str:
    text = clean(name)
    return text if len(text) <= 40 else text[:39] + "\N{HORIZONTAL ELLIPSIS}"


_TERMS = (
    (
        "Calibration",
        "For each column, and for sums of all columns with random weights, the share of samples of the model that lie "
        "below a row. If the model is right these shares are uniform: the curves, their distance from uniform, stay in "
        "the grey band with a probability of 95 %, all together. A curve below zero at the left and above it at the "
        "right: the model is too wide; the other way round, too narrow; all on one side, shifted. With very many rows "
        "small faults leave the band too; how large they are is said in per cent of the rows.",
    ),
)
