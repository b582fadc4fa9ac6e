"""Text of the pages: formatted numbers, names and summaries."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from pushforward.numerics.moments import standard_error

_STOP_REASONS = {
    "finished": "Training ran for all epochs",
    "early stopping": "Training stopped early, when the validation score no longer improved",
    "interrupted": "Training was interrupted",
}

_FEW_ROWS = 100
_SAME = 1e-3  # nats per row
_PER_CENT = 0.2  # nats: smaller gains are stated in per cent
MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"


def decimals(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number with a true minus sign; a dash for None."""
    if value is None:
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """A time in a readable unit.

    >>> duration(0.00316), duration(12.3), duration(200)
    ('3.2 ms', '12 s', '3 min 20 s')
    """
    if seconds is None:
        return NONE
    if seconds < 5e-5:
        return "under 0.1 ms"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.{1 if seconds < 0.00995 else 0}f} ms"
    if seconds < 99.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def find_row(leaderboard: Sequence[Any], name: str) -> Any | None:
    """The row of that name, or None."""
    return next((row for row in leaderboard if row.name == name), None)


def gain(row: Any, baseline: Any | None) -> float | None:
    """Nats per row that a model gains over the baseline; None for the baseline itself or where a score is missing."""
    if baseline is None or row is baseline or row.test_log_likelihood is None or baseline.test_log_likelihood is None:
        return None
    return row.test_log_likelihood - baseline.test_log_likelihood


def gain_digits(error: float | None) -> int:
    """Decimals of a gain with this standard error: two significant digits of the error, from two to five.

    >>> gain_digits(0.00213), gain_digits(None), gain_digits(1e-9)
    (4, 2, 5)
    """
    return min(max(2, 1 - math.floor(math.log10(error))), 5) if error and 0 < error < 1 else 2


def best_other(leaderboard: Sequence[Any], model: Any) -> Any | None:
    """The row of the best score among the others; None if there is none."""
    scored = [(row.test_log_likelihood, row) for row in leaderboard if row is not model]
    scored = [(-math.inf if math.isnan(score) else score, row) for score, row in scored if score is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def gain_error(row: Any, baseline: Any) -> float | None:
    """Standard error of the gain, from the differences of the same test rows where both have them."""
    known = getattr(row, "gain_error", None)
    scores, others = (getattr(part, "scores", None) for part in (row, baseline))
    if row is baseline or known is not None:
        return None if row is baseline else known
    return None if scores is None or others is None or len(scores) != len(others) else standard_error(scores - others)


def summary(model: Any, baseline: Any | None, n_rows: int, no_gain: str = "") -> list[str]:
    """Summary lines: the model against the baseline, or `no_gain`, and its score on `n_rows` test rows."""
    if model.test_log_likelihood is None:
        return [f"{model.name} was not scored on rows that training has not used."]
    error = f" \N{PLUS-MINUS SIGN} {decimals(model.standard_error)}" if model.standard_error is not None else ""
    lines = [f"{model.name} scores {decimals(model.test_log_likelihood)}{error} nats per row on {n_rows:,} test rows."]
    difference = gain(model, baseline)
    if no_gain:
        lines.insert(0, no_gain)
    elif baseline is not None and difference is not None:
        error = gain_error(model, baseline)
        lines.insert(0, describe_gain(difference, error, model.name, f"the {baseline.name}", n_rows))
    return lines


def describe_gain(
    difference: float, error: float | None, name: str = "The flow", baseline: str = "a Gaussian",
    n_rows: int | None = None,
) -> str:  # fmt: skip
    """Describe a gain in nats per row, with its standard error if it is known, and as a factor.

    With less than 100 test rows the interval is stated, because it is wide.

    >>> describe_gain(0.5, 0.1)[:75]
    'The flow gains 0.50 ± 0.10 nats per row over a Gaussian: in the geometric m'
    >>> describe_gain(0.1, 0.1)[:35], describe_gain(0.5, 0.1, n_rows=20)[-62:]
    ('The flow is level with a Gaussian: ', 'gain lies between 0.29 and 0.71 nats per row, a wide interval.')
    """
    if not math.isfinite(difference):
        return f"{name} and {baseline} cannot be compared: the score of a test row is not finite."
    if error is not None and abs(difference) + 2.0 * error < _SAME:
        return f"{name} scores the test rows as {baseline} does, within {_SAME} nats per row."
    digits = gain_digits(error)
    figures = decimals(abs(difference), digits)
    if error is not None:
        figures += f" \N{PLUS-MINUS SIGN} {decimals(error, digits)}"
    figures += " nats per row"
    if error is not None and abs(difference) <= 2.0 * error:
        side = "above" if difference > 0 else "below"
        text = (
            f"{name} is level with {baseline}: {figures} {side} it, within two standard errors. Either that model "
            "describes the columns as well, or more rows are needed."
        )
    elif difference <= 0.0:
        text = f"{name} is {figures} behind {baseline}: try more epochs, a smaller width, or more rows."
    else:
        # A factor is easier to read than a logarithm, unless it is huge.
        factor = f"{_two_digits(math.exp(min(difference, 99.0)))} times as likely"
        if difference < _PER_CENT:
            factor = f"{math.expm1(difference):.1%} likelier"
        elif difference > math.log(1e6):
            factor = "more than a million times as likely"
        text = f"{name} gains {figures} over {baseline}: in the geometric mean, a test row is {factor} under it."
    if error is None or n_rows is None or not 1 < n_rows < _FEW_ROWS:
        return text
    from scipy.stats import t

    reach = float(t.ppf(0.975, n_rows - 1)) * error
    low, high = (decimals(difference + side * reach, digits) for side in (-1, 1))
    return (
        f"{text} Only {n_rows} rows were tested: with 95% confidence the gain lies between {low} and {high} nats per "
        "row, a wide interval."
    )


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10.0 else f"{round(value, 1 - int(math.log10(value))):,.0f}"


def describe_training(history: Any) -> str:
    """Describe a training run: epochs, time, stop reason, skipped steps."""
    epochs, total = len(history.train), history.seconds[-1] if len(history.seconds) else None
    text = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if total is not None:
        text += f" in {duration(total)}"
        if history.compile_seconds is not None:
            text += f", {duration(history.compile_seconds)} of them compiling"
    if history.best_epoch is not None and history.best_epoch >= 0:
        text += f"; the model has the weights of epoch {history.best_epoch + 1}"
    text += "."
    if history.stop_reason:
        text += f" {_STOP_REASONS.get(history.stop_reason, f'Training stopped: {history.stop_reason}')}."
    if n_copies := getattr(history, "n_validation_copies", 0):
        without = getattr(history, "validation_without_copies", math.nan)
        rest = "." if math.isnan(without) else f"; the others have {decimals(without)} nats per row."
        text += f" {n_copies:,} of the {history.n_validation:,} validation rows equal a training row{rest}"
    if history.skipped_steps:
        one = history.skipped_steps == 1
        text += f" {history.skipped_steps} step{' was' if one else 's were'} skipped because the loss was not finite."
    return text


def clean(text: object, most: int = 2000) -> str:
    """Text that is safe on a page: control characters and marks of the reading direction are replaced.

    Text of more than `most` characters is shortened, with an ellipsis.

    >>> clean("a\\tb\\x1b[31m")
    'a b\\ufffd[31m'
    """
    full = str(text)
    shortened = full if len(full) <= most else full[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    letters = (" " if letter in "\t\n\r" else "\ufffd" if _is_control(letter) else letter for letter in shortened)
    return "".join(letters)


def _is_control(letter: str) -> bool:
    """Whether it is a control character, a half of a surrogate pair, or a mark of the reading direction."""
    is_bidi = "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069"
    return is_bidi or unicodedata.category(letter) in ("Cc", "Cs")


def join_with_and(values: Sequence[str]) -> str:
    """Join parts: `a`, `a and b`, `a, b and c`.

    >>> join_with_and(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(values[:-1]), values[-1]]) if len(values) > 1 else "".join(values)
