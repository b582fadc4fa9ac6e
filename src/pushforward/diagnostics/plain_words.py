"""A certificate in the words of a table: what failed tests mean for the use of a model, and what to do.

Tests of data write their finding themselves, with column, shares and values. Here are the findings of the other tests,
and of certificates in old model files, by the name of the test.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pushforward.diagnostics.row import Row

OUT_OF_SUPPORT = "rows of data lie outside the support of the flow"
_REPORT = (
    "Fit again with the default flow. If the fault stays, it lies in the program and not in your table: report it."
)
_SMALLER = "Fit again with fewer --layers or a smaller --learning-rate."
_LONGER = "Fit again with more --epochs or more --layers; with few rows, collect more."
_SINGLE = "In single precision, the default in Python, {}"
_DOUBLE = "Compute in double precision: the commands do, in Python use pf.cast(flow, np.float64)."


class Finding(NamedTuple):
    """What a test found, and what to do."""

    text: str
    advice: str


# The model itself is wrong: no number of it can be used.
_BROKEN = {
    "finite values": Finding("The model gives no number at some rows or samples.", _SMALLER),
    "finite bounds of masses": Finding("The model gives no number at some rows or samples.", _SMALLER),
    "integral of the density": Finding(
        "The probabilities of the model do not add up to one, so its scores are off.", _REPORT
    ),
    "log-det of forward": Finding("The scores of samples are computed wrongly.", _REPORT),
    "log-det of inverse": Finding("The scores of rows are computed wrongly.", _REPORT),
    "round trip of samples": Finding("The rows that the model draws are not those that it scores.", _REPORT),
    "round trip 3 sigma outward": Finding(
        "Far from the bulk of the rows, the rows that the model draws are not those that it scores.", _REPORT
    ),
    "round trip of data": Finding("The rows that the model draws are not those that it scores.", _REPORT),
    "Lipschitz bound below one": Finding("A layer of the model need not be invertible.", _REPORT),
    "estimated log-det": Finding("The estimates of the scores are off on average.", _REPORT),
    "circular columns": Finding(
        "A circular column does not have the same density at both ends of its period.", _REPORT
    ),
}
# Rounding: whether that matters depends on the precision.
_ROUNDED = {
    "condition number": Finding(
        _SINGLE.format("rounding destroys the digits of scores at some rows."),
        f"{_DOUBLE} Or leave out columns that others determine, and fit with fewer --layers.",
    ),
    "float32 against float64": Finding(
        _SINGLE.format("the scores and samples of this model are too coarse."),
        f"{_DOUBLE} Or subtract a large offset from the column before the fit.",
    ),
}
# The model is a density, but not that of the rows.
_MISFIT = {
    "copies of training rows": Finding(
        "Test rows are copies of training rows, so the test says little about new rows.",
        "Keep rows that belong together on one side of the test: --groups COLUMN.",
    ),
    "over-fitting": Finding(
        "The model has learned its training rows by heart, and fits new rows worse.",
        "Fit again with fewer --layers, a smaller --width or more rows.",
    ),
    "values that repeat": Finding(
        "Some values repeat in the rows, but not in the samples.", "Declare the column rounded."
    ),
    "dimension of the rows": Finding(
        "Some columns are, nearly, determined by others; the scores are then without bound.",
        "Leave out columns that others determine (--exclude).",
    ),
    "tails of the columns": Finding(
        "A column has more extreme values than the model draws.", "Declare it heavy: --column NAME=heavy."
    ),
    "calibration of data": Finding("The samples of the model are distributed otherwise than the rows.", _LONGER),
    "comparison with samples": Finding("The samples of the model differ from the rows.", _LONGER),
    "data beyond the base": Finding(
        "Some rows lie further out than any row the model draws.",
        "Look at these rows; if they are right, declare their columns heavy: --column NAME=heavy.",
    ),
    "outside the splines' boxes": Finding(
        "Many rows lie so far out that the model has learned nothing there.",
        "Declare columns with far outliers heavy: --column NAME=heavy.",
    ),
    "classifier": Finding("A simple program can tell rows from samples.", _LONGER),
    "calibration of latents": Finding("The model misses how columns go together.", _LONGER),
    "saturated scales": Finding(
        "The model reaches the limit of its flexibility at many rows.", "Fit again with --flow nsf or more --layers."
    ),
}
_MEANINGS = _BROKEN | _ROUNDED | _MISFIT  # the most important test first
_OF_ROWS = ("calibration of data", "comparison with samples")
_IN_FLOAT64 = "in float64 it is healthy"


def finding_of(row: Row) -> Finding:
    """The finding of a failed row of a certificate: its own, or that of its name, or its fault."""
    usual = _MEANINGS.get(row.name, Finding(_sentence(row.fault or f"the test {row.name!r} failed"), row.fix))
    return Finding(row.finding or usual.text, row.advice or usual.advice)


def findings_of(rows: Sequence[Row]) -> list[Finding]:
    """The findings of the failed tests, the most important first, each once."""
    ranks = {name: rank for rank, name in enumerate(_MEANINGS)}
    failed = sorted((row for row in rows if row.ok is False), key=lambda row: ranks.get(row.name, -1))
    return list({finding.text: finding for finding in map(finding_of, failed)}.values())


def summary_of(rows: Sequence[Row]) -> str:
    """The verdict in one sentence: whether the model can be used, or what is wrong with it."""
    failed = {row.name: row for row in rows if row.ok is False}
    if not failed:
        doubt = next((row.finding for row in rows if row.ok is None and row.finding), "")
        if doubt:
            return f"No fault was found, but {doubt[0].lower()}{doubt[1:]}"
        if not any(row.name in _OF_ROWS for row in rows):
            return "No fault was found in the model itself. Whether it fits a table was not tested."
        return "The model is healthy: it can be trusted to score rows like those of the table, and to draw new ones."
    first = findings_of(rows)[0].text
    if failed.keys() <= _ROUNDED.keys() and any(_IN_FLOAT64 in row.fault for row in failed.values()):
        return f"The model is healthy in double precision, in which the commands compute. {first}"
    is_density = all(name in _MISFIT | _ROUNDED or row.fault == OUT_OF_SUPPORT for name, row in failed.items())
    start = "Do not rely on the scores and samples" if is_density else "Do not use this model"
    if failed.keys() == {"copies of training rows"}:
        start = "Do not trust the test"
    return f"{start}: {first[0].lower()}{first[1:]}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
