"""The result of `check`: a summary, a verdict, and a plain table of its rows when printed."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from pushforward.diagnostics.plain_words import Finding, findings_of, summary_of
from pushforward.diagnostics.row import Row
from pushforward.errors import DataError

_WIDTH = 100
_INDENT = " " * 4
_MOST_FAULTS = 3
_RESULTS = {True: "ok", False: "FAILED", None: "not tested"}
_OLD_KEYS = {"sentence": "message", "remedy": "fix"}  # of rows in the notes of old model files


@dataclass(frozen=True)
class Certificate:
    """The result of `pushforward.check`.

    Attributes:
        rows: one for each test, causes before their possible consequences.
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
        """Whether no test failed. Tests that could not be made do not count."""
        return all(row.ok is not False for row in self.rows)

    @property
    def summary(self) -> str:
        """Whether the model can be used, in the words of the table; else the most important fault."""
        return summary_of(self.rows)

    @property
    def findings(self) -> list[Finding]:
        """The faults in the words of the table, each with `text` and `advice`, the most important first."""
        return findings_of(self.rows)

    @property
    def verdict(self) -> str:
        """One or two technical sentences: the faults with the fix of the first, or that no test failed."""
        failed = [row for row in self.rows if row.ok is False]
        untested = [row.name for row in self.rows if row.ok is None]
        suffix = f"; not tested: {', '.join(untested)}" if untested else ""
        if not failed:
            n_passed = sum(row.ok is True for row in self.rows)
            gap = next((row.fault for row in self.rows if row.ok is None and row.fault), "")
            start = f"{gap[0].upper()}{gap[1:]}; in {self.dtype}" if gap else f"Healthy in {self.dtype}:"
            return f"{start} {n_passed} tests passed, none failed{suffix}."
        names: dict[str, list[str]] = {}  # tests with the same fault are named together
        for row in failed:
            names.setdefault(row.fault or f"{row.name} failed", []).append(row.name)
        faults = [
            fault if any(name in fault for name in tests) else f"{fault} ({', '.join(tests)})"
            for fault, tests in names.items()
        ]
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        fix = next((f" First: {row.fix}" for row in failed if row.fix), "")
        return f"Not healthy in {self.dtype}: {'; '.join(faults[:_MOST_FAULTS])}{more}{suffix}.{fix}"

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: summary, verdict, ok, dtype and the rows; a number that is not finite is None."""
        rows = [vars(row) | {"value": _finite(row.value), "bound": _finite(row.bound)} for row in self.rows]
        return {
            "ok": self.ok, "summary": self.summary, "verdict": self.verdict, "dtype": self.dtype, "rows": rows,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Any) -> "Certificate":
        """The certificate of a `to_dict`, such as one stored in a model file. `ok` and `verdict` are computed again.

        Raises:
            DataError: if it is something else.
        """
        rows = plain.get("rows") if isinstance(plain, dict) else None
        dtype = plain.get("dtype") if isinstance(plain, dict) else None
        if isinstance(rows, list):
            rows = [_with_current_keys(row) for row in rows]
        if not isinstance(rows, list) or not isinstance(dtype, str) or not all(_is_row(row) for row in rows):
            raise DataError(
                "expected what Certificate.to_dict made, got something else. Check the model again.", "certificate"
            )
        return cls(tuple(Row(**row) for row in rows), dtype)

    def __str__(self) -> str:
        lines = [("test", "value", "bound", "result")]
        lines += [(r.name, _number(r.value), _number(r.bound), _RESULTS[r.ok]) for r in self.rows]
        a, b, c, d = (max(len(line[column]) for line in lines) for column in range(4))
        table = []
        for (name, value, bound, result), row in zip(lines, [None, *self.rows], strict=True):
            start = f"{name:<{a}}  {value:>{b}}  {bound:>{c}}  {result:<{d}}  "
            table += _row_lines(start, row.message, row.fix) if row is not None else [start.rstrip()]
        return "\n".join([*_wrapped(self.summary, ""), "", *table, "", *_wrapped(self.verdict, "")])


def _row_lines(start: str, message: str, fix: str) -> list[str]:
    """The lines of a row: the message on the line of the numbers if it fits, else below."""
    if len(start) + len(message) <= _WIDTH:
        lines = [f"{start}{message}".rstrip()]
    else:
        lines = [start.rstrip(), *_wrapped(message, _INDENT)]
    return [*lines, *_wrapped(fix, _INDENT)]


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


def _with_current_keys(row: Any) -> Any:
    return {_OLD_KEYS.get(key, key): value for key, value in row.items()} if isinstance(row, dict) else row


def _is_row(row: Any) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "name": (str,), "value": (int, float, type(None)), "bound": (int, float, type(None)), "ok": (bool, type(None)),
        "message": (str,), "fault": (str,), "fix": (str,), "finding": (str,), "advice": (str,),
    }  # fmt: skip
    return (
        isinstance(row, dict)
        and {"name", "value", "bound", "ok", "message"} <= row.keys() <= kinds.keys()
        and all(isinstance(part, kinds[name]) for name, part in row.items())
        and not isinstance(row["value"], bool)
        and not isinstance(row["bound"], bool)
    )
