"""Text of the pages: formatted numbers, names and summaries."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

_STOP_REASONS = {
    "finished": "Training ran for all epochs",
    "early stopping": "Training stopped early, when the validation score no longer improved",
    "interrupted": "Training was interrupted",
}

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
    """Decimals of a gain with this standard error: two significant digits of the error, and at least two.

    >>> gain_digits(0.00213), gain_digits(None)
    (4, 2)
    """
    return max(2, 1 - math.floor(math.log10(error))) if error and 0 < error < 1 else 2


def summary(leaderboard: Sequence[Any], model: Any, baseline: Any | None, no_gain: str = "") -> list[str]:
    """Summary lines: the model against the baseline, or `no_gain`, its score, and the best of the other models."""
    if model.test_log_likelihood is None:
        return [f"{model.name} was not scored on held-out rows."]
    error = f" \N{PLUS-MINUS SIGN} {decimals(model.standard_error)}" if model.standard_error is not None else ""
    lines = [f"On held-out rows {model.name} reaches {decimals(model.test_log_likelihood)}{error} nats per row."]
    difference = gain(model, baseline)
    if no_gain:
        lines.insert(0, no_gain)
    elif baseline is not None and difference is not None:
        error = getattr(model, "gain_error", None)
        lines.insert(0, _against_baseline(model.name, baseline.name, difference, error))
    scored = [row for row in leaderboard if row is not model and row.test_log_likelihood is not None]
    others = [row for row in scored if row is not baseline]
    if others:
        best = max(others, key=lambda row: row.test_log_likelihood)
        lines.append(_against_best(model, best))
    return lines


def _against_baseline(name: str, baseline: str, difference: float, error: float | None) -> str:
    if not math.isfinite(difference):
        return f"{name} and the {baseline} cannot be compared: a held-out score is not finite."
    digits = gain_digits(error)
    plus_minus = "" if error is None else f" \N{PLUS-MINUS SIGN} {decimals(error, digits)}"
    if error is not None and abs(difference) <= 2.0 * error:
        return (
            f"{name} is level with the {baseline}: the difference, {decimals(difference, digits, sign=True)}"
            f"{plus_minus} nats per row, is less than two standard errors."
        )
    if difference <= 0.0:
        return (
            f"{name} loses {decimals(-difference, digits)}{plus_minus} nats per row against the {baseline}: "
            "training went wrong, or the data hold nothing more to learn."
        )
    # A factor is easier to read than a logarithm, unless it is huge.
    factor = _two_digits(math.exp(difference)) if difference < math.log(1e6) else "more than a million"
    return (
        f"{name} gains {decimals(difference, digits)}{plus_minus} nats per row over the {baseline}: "
        f"a held-out row is, in the geometric mean, {factor} times as likely under it."
    )


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10.0 else f"{round(value, 1 - int(math.log10(value))):,.0f}"


def _against_best(model: Any, best: Any) -> str:
    difference = model.test_log_likelihood - best.test_log_likelihood
    if not math.isfinite(difference):
        return f"The other scores cannot be compared with it: {best.name} has a score that is not finite."
    errors = [row.standard_error for row in (model, best) if row.standard_error is not None]
    if len(errors) == 2 and abs(difference) <= 2.0 * math.hypot(*errors):
        return f"It is level with {best.name}, the best of the others: they differ by less than two standard errors."
    relation = "ahead of" if difference > 0 else "behind"
    return f"It is {decimals(abs(difference), 2)} nats {relation} {best.name}, the best of the others."


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
