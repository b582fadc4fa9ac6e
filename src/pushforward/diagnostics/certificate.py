"""What a check found: rows with values and bounds, a verdict in words, and a plain table when printed."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One test: `value` must not exceed `bound`.

    Attributes:
        name: of the test.
        value: what was measured, or None.
        bound: what is allowed, or None.
        ok: whether the test passed; None where nothing could be tested.
        sentence: what the value is, why nothing could be tested, or what to do about a failure.
    """

    name: str
    value: float | None
    bound: float | None
    ok: bool | None
    sentence: str


@dataclass(frozen=True)
class Certificate:
    """The outcome of `pushforward.check`.

    Attributes:
        rows: one for each test.
        dtype: the type of numbers in which the flow computes, such as "float32".
    """

    rows: tuple[Row, ...]
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether no test failed; tests that could not be made do not count."""
        return all(row.ok is not False for row in self.rows)

    @property
    def verdict(self) -> str:
        """One sentence."""
        failed = [row.name for row in self.rows if row.ok is False]
        untested = [row.name for row in self.rows if row.ok is None]
        aside = f"; not tested: {', '.join(untested)}" if untested else ""
        if failed:
            return f"Not healthy in {self.dtype}: {', '.join(failed)} failed{aside}."
        n_passed = sum(row.ok is True for row in self.rows)
        return f"Healthy in {self.dtype}: {n_passed} tests passed, none failed{aside}."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: verdict, ok, dtype and the rows."""
        rows = [dict(vars(row)) for row in self.rows]
        return {"ok": self.ok, "verdict": self.verdict, "dtype": self.dtype, "rows": rows}

    def __str__(self) -> str:
        words = {True: "ok", False: "FAILED", None: "not tested"}
        lines = [("test", "value", "bound", "result", "")]
        lines += [(r.name, _number(r.value), _number(r.bound), words[r.ok], r.sentence) for r in self.rows]
        a, b, c, d = (max(len(line[column]) for line in lines) for column in range(4))
        table = [
            f"{name:<{a}}  {v:>{b}}  {bound:>{c}}  {word:<{d}}  {text}".rstrip() for name, v, bound, word, text in lines
        ]
        return "\n".join([*table, self.verdict])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2e}" if value else "0"
