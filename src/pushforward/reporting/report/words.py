"""The sentences and numbers of a report: what a reader would say aloud, as plain text."""

import math
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Any

from pushforward.reporting.plots.canvas import short

_STOPPED = {
    "finished": "Training ran for all the epochs it was given",
    "early stopping": "Training stopped early, when the validation rows had gained nothing for some time",
    "interrupted": "Training was interrupted",
}

MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"


def decimals(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number with a true minus sign; a dash where nothing was measured."""
    if value is None:
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """A time in the unit in which it is easily read.

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


def find(leaderboard: Sequence[Any], name: str) -> Any | None:
    """The row of that name, or None."""
    return next((row for row in leaderboard if row.name == name), None)


def gain(row: Any, baseline: Any | None) -> float | None:
    """Nats per row that a model gains over the baseline; None for the baseline itself or where a score is missing."""
    if baseline is None or row is baseline or row.test_log_likelihood is None or baseline.test_log_likelihood is None:
        return None
    return row.test_log_likelihood - baseline.test_log_likelihood


def gain_digits(error: float | None) -> int:
    """Digits after the point of a gain with this standard error: two of the error's own, and two at least.

    >>> gain_digits(0.00213), gain_digits(None)
    (4, 2)
    """
    return max(2, 1 - math.floor(math.log10(error))) if error and 0 < error < 1 else 2


def summary(leaderboard: Sequence[Any], model: Any, baseline: Any | None, no_gain: str = "") -> list[str]:
    """What the model's score means: against the baseline, unless `no_gain` says why not, and the best of the others."""
    if model.test_log_likelihood is None:
        return [f"{model.name} was not scored on held-out rows."]
    error = f" \N{PLUS-MINUS SIGN} {decimals(model.standard_error)}" if model.standard_error is not None else ""
    sentences = [f"On held-out rows {model.name} reaches {decimals(model.test_log_likelihood)}{error} nats per row."]
    gained = gain(model, baseline)
    if no_gain:
        sentences.insert(0, no_gain)
    elif baseline is not None and gained is not None:
        error = getattr(model, "gain_error", None)
        sentences.insert(0, _against_baseline(model.name, baseline.name, gained, error))
    scored = [row for row in leaderboard if row is not model and row.test_log_likelihood is not None]
    others = [row for row in scored if row is not baseline]
    if others:
        best = max(others, key=lambda row: row.test_log_likelihood)
        sentences.append(_against_best(model, best))
    return sentences


def _against_baseline(name: str, baseline: str, gained: float, error: float | None) -> str:
    if not math.isfinite(gained):
        return f"{name} and the {baseline} cannot be compared: a held-out score is not finite."
    digits = gain_digits(error)
    known = "" if error is None else f" \N{PLUS-MINUS SIGN} {decimals(error, digits)}"
    if error is not None and abs(gained) <= 2.0 * error:
        return (
            f"{name} is level with the {baseline}: the difference, {decimals(gained, digits, sign=True)}{known} nats "
            "per row, is less than two standard errors."
        )
    if gained <= 0.0:
        return (
            f"{name} loses {decimals(-gained, digits)}{known} nats per row against the {baseline}: "
            "something went wrong, or the data hold nothing more to learn."
        )
    # A factor says more than a logarithm while it can still be imagined.
    factor = _two_digits(math.exp(gained)) if gained < math.log(1e6) else "more than a million"
    return (
        f"{name} gains {decimals(gained, digits)}{known} nats per row over the {baseline}: "
        f"a held-out row is, in the geometric mean, {factor} times as likely under it."
    )


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10.0 else f"{round(value, 1 - int(math.log10(value))):,.0f}"


def _against_best(model: Any, best: Any) -> str:
    ahead = model.test_log_likelihood - best.test_log_likelihood
    if not math.isfinite(ahead):
        return f"The other scores cannot be compared with it: {best.name} has a score that is not finite."
    errors = [row.standard_error for row in (model, best) if row.standard_error is not None]
    if len(errors) == 2 and abs(ahead) <= 2.0 * math.hypot(*errors):
        return f"It is level with {best.name}, the best of the others: they differ by less than two standard errors."
    place = "ahead of" if ahead > 0 else "behind"
    return f"It is {decimals(abs(ahead), 2)} nats {place} {best.name}, the best of the others."


def training(history: Any) -> str:
    """How training went: epochs, time, why it stopped, what was skipped."""
    epochs, total = len(history.train), history.seconds[-1] if len(history.seconds) else None
    words = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if total is not None:
        words += f" in {duration(total)}"
        if history.compile_seconds is not None:
            words += f", {duration(history.compile_seconds)} of them compiling"
    if history.best_epoch is not None and history.best_epoch >= 0:
        words += f"; the weights of epoch {history.best_epoch + 1} were kept"
    words += "."
    if history.stop_reason:
        words += f" {_STOPPED.get(history.stop_reason, f'Training stopped: {history.stop_reason}')}."
    if n_copies := getattr(history, "n_validation_copies", 0):
        without = getattr(history, "validation_without_copies", math.nan)
        rest = "." if math.isnan(without) else f"; the others have {decimals(without)} nats per row."
        words += f" {n_copies:,} of the {history.n_validation:,} validation rows equal a training row{rest}"
    if history.skipped_steps:
        one = history.skipped_steps == 1
        words += f" {history.skipped_steps} step{' was' if one else 's were'} skipped for a loss that was not finite."
    return words


def clean(text: object, most: int = 2000) -> str:
    """Text as it may stand on a page: what steers a terminal or turns the reading direction is made visible.

    Of more than `most` letters the first are kept, with an ellipsis.

    >>> clean("a\\tb\\x1b[31m")
    'a b\\ufffd[31m'
    """
    whole = str(text)
    kept = whole if len(whole) <= most else whole[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    letters = (" " if letter in "\t\n\r" else "\ufffd" if _steers(letter) else letter for letter in kept)
    return "".join(letters)


def _steers(letter: str) -> bool:
    """Control characters, halves of surrogate pairs, and the marks that turn or isolate the reading direction."""
    turns = "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069"
    return turns or unicodedata.category(letter) in ("Cc", "Cs")


def name_html(name: object) -> str:
    """A name from somebody's file, escaped and shut off: its reading direction ends with it; at most 400 letters.

    >>> name_html("<b>")
    '<bdi>&lt;b&gt;</bdi>'
    """
    return f"<bdi>{escape(clean(name, 400))}</bdi>"


def short_html(name: object) -> str:
    """`name_html`, cut to what fits over a column of numbers; the whole name appears where a pointer rests on it."""
    cut, whole = short(name), clean(name, 400)
    title = f' title="{escape(whole)}"' if cut != whole else ""
    return f"<bdi{title}>{escape(cut)}</bdi>"


def listed(words: Sequence[str]) -> str:
    """Words in a row: `a`, `a and b`, `a, b and c`.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def measured(value: float | None) -> str:
    r"""A number of any size in few characters, HTML: powers of ten where decimals would be all zeros.

    >>> measured(0.25), ascii(measured(1234567.0))
    ('0.25', "'1.2 \\xd7 10<sup>6</sup>'")
    """
    if value is None:
        return NONE
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else f"{MINUS}infinite"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}".replace("-", MINUS) if abs(value) < 999.5 else f"{value:,.0f}".replace("-", MINUS)
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} \N{MULTIPLICATION SIGN} 10<sup>{int(power)}</sup>".replace("-", MINUS)
