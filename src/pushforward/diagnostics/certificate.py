"""What a check found: rows with values and bounds, a verdict in words, and a plain table when printed."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from pushforward.errors import DataError

_WIDTH = 100
_INDENT = " " * 4
_MOST_FAULTS = 3
_WORDS = {True: "ok", False: "FAILED", None: "not tested"}


@dataclass(frozen=True)
class Row:
    """One test: `value` must not exceed `bound`.

    Attributes:
        name: of the test.
        value: what was measured, or None.
        bound: what is allowed, or None.
        ok: whether the test passed; None where nothing could be tested.
        sentence: what the value is, or why nothing could be tested.
        fault: where the test failed, what is wrong, in a few words for the verdict; where nothing could be tested and
            a verdict is worth little without it, why.
        remedy: where the test failed, what to do.
    """

    name: str
    value: float | None
    bound: float | None
    ok: bool | None
    sentence: str
    fault: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Certificate:
    """The outcome of `pushforward.check`.

    Attributes:
        rows: one for each test, causes before what may follow from them.
        dtype: the type of numbers in which the flow computes, such as "float32".

    Example:
        >>> from pushforward.diagnostics import Certificate, Row
        >>> bent = Row("integral of the density", 0.5, 0.005, False, "0.5000.", "the density does not integrate to one")
        >>> Certificate((bent,), "float32").verdict
        'Not healthy in float32: the density does not integrate to one (integral of the density).'
    """

    rows: tuple[Row, ...]
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether no test failed; tests that could not be made do not count."""
        return all(row.ok is not False for row in self.rows)

    @property
    def verdict(self) -> str:
        """What is wrong and what to do about the first fault, or that nothing is, in one or two sentences."""
        failed = [row for row in self.rows if row.ok is False]
        untested = [row.name for row in self.rows if row.ok is None]
        aside = f"; not tested: {', '.join(untested)}" if untested else ""
        if not failed:
            n_passed = sum(row.ok is True for row in self.rows)
            unseen = next((row.fault for row in self.rows if row.ok is None and row.fault), "")
            start = f"{unseen[0].upper()}{unseen[1:]}; in {self.dtype}" if unseen else f"Healthy in {self.dtype}:"
            return f"{start} {n_passed} tests passed, none failed{aside}."
        names: dict[str, list[str]] = {}  # tests that found the same fault are named together
        for row in failed:
            names.setdefault(row.fault or f"{row.name} failed", []).append(row.name)
        faults = [
            fault if any(name in fault for name in found) else f"{fault} ({', '.join(found)})"
            for fault, found in names.items()
        ]
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        remedy = next((row.remedy for row in failed if row.remedy), "")
        do = f" First: {remedy}" if remedy else ""
        return f"Not healthy in {self.dtype}: {'; '.join(faults[:_MOST_FAULTS])}{more}{aside}.{do}"

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: verdict, ok, dtype and the rows; a number that is not finite is None."""
        rows = [vars(row) | {"value": _finite(row.value), "bound": _finite(row.bound)} for row in self.rows]
        return {"ok": self.ok, "verdict": self.verdict, "dtype": self.dtype, "rows": rows}

    @classmethod
    def from_dict(cls, found: Any) -> "Certificate":
        """The certificate of a `to_dict`, as a model file keeps it; what follows from the rows is derived anew.

        Raises:
            DataError: if it is something else.
        """
        rows = found.get("rows") if isinstance(found, dict) else None
        dtype = found.get("dtype") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not isinstance(dtype, str) or not all(_is_row(row) for row in rows):
            raise DataError(
                "certificate: expected what Certificate.to_dict made, got something else. Check the model again."
            )
        return cls(tuple(Row(**row) for row in rows), dtype)

    def __str__(self) -> str:
        lines = [("test", "value", "bound", "result")]
        lines += [(r.name, _number(r.value), _number(r.bound), _WORDS[r.ok]) for r in self.rows]
        a, b, c, d = (max(len(line[column]) for line in lines) for column in range(4))
        table = []
        for (name, value, bound, word), row in zip(lines, [None, *self.rows], strict=True):
            start = f"{name:<{a}}  {value:>{b}}  {bound:>{c}}  {word:<{d}}  "
            table += _beside(start, row.sentence, row.remedy) if row is not None else [start.rstrip()]
        return "\n".join([*table, "", *_wrapped(self.verdict, "")])


def _beside(start: str, sentence: str, remedy: str) -> list[str]:
    """A row's words beside its numbers where they fit, else below them."""
    if len(start) + len(sentence) <= _WIDTH:
        lines = [f"{start}{sentence}".rstrip()]
    else:
        lines = [start.rstrip(), *_wrapped(sentence, _INDENT)]
    return [*lines, *_wrapped(remedy, _INDENT)]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2e}" if value else "0"


def _is_row(row: Any) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "name": (str,), "value": (int, float, type(None)), "bound": (int, float, type(None)), "ok": (bool, type(None)),
        "sentence": (str,), "fault": (str,), "remedy": (str,),
    }  # fmt: skip
    return (
        isinstance(row, dict)
        and {"name", "value", "bound", "ok", "sentence"} <= row.keys() <= kinds.keys()
        and all(isinstance(part, kinds[name]) for name, part in row.items())
        and not isinstance(row["value"], bool)
        and not isinstance(row["bound"], bool)
    )
