"""What one column of a table holds: its kind, the numbers of that kind, and where these come from."""

import dataclasses
import math
from typing import Any

import numpy as np

from pushforward.core.discretised import bin_edges
from pushforward.errors import DataError

KINDS = ("real", "positive", "softplus", "bounded", "circular", "heavy", "discrete", "constant")
_LISTED = 6
DECLARATIONS = (
    "real, positive[:LOWER], bounded:LOWER:UPPER, circular:START:END, heavy, whole, count, category, rounded:STEP, "
    "constant; rounded may follow another, as in positive:0+rounded:0.5"
)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table, and the map that stands outside a flow for it.

    Attributes:
        name: of the column.
        kind: one of `KINDS`.
        lower, upper: ends of the support, of positive and softplus (`lower`), bounded and circular columns.
        centre, scale: of real and heavy columns, their median and their scale by quartiles; `centre` is the value of a
            constant column and where the circle of a circular one is cut.
        below, above: indices of the tails of heavy columns: P(|x| > t) falls like t^(-1/index).
        step: of the grid to which values were rounded; 0 for none.
        origin: a value on that grid.
        values: that occur, increasing: of a discrete column, which can hold no other; of another one of few values all
            those of the grid in their range.
        shares: of these values in the data, between those of what lies below and above them, 0 where nothing can.
        source: "declared" by the caller, "detected" in the data, or "default".
        note: why, in words.
        unit: of the values, in words.
    """

    name: str
    kind: str = "real"
    lower: float = 0.0
    upper: float = 1.0
    centre: float = 0.0
    scale: float = 1.0
    below: float = 0.1
    above: float = 0.1
    step: float = 0.0
    origin: float = 0.0
    source: str = "default"
    note: str = ""
    unit: str = ""
    values: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"column {self.name!r}: expected a kind among {', '.join(KINDS)}, got {self.kind!r}.")
        numbers = [value for value in vars(self).values() if isinstance(value, float)]
        if not all(map(math.isfinite, numbers)):
            raise DataError(f"column {self.name!r}: expected finite numbers, got {numbers}.")
        n_shares = len(self.values) + 2 if self.values else 0
        values, shares = np.asarray(self.values), np.asarray(self.shares)
        is_fit = len(values) != 1 and len(shares) == n_shares and bool(self.values) >= (self.kind == "discrete")
        if not (is_fit and np.isfinite(values).all() and (np.diff(values) > 0).all() and np.isfinite(shares).all()):
            raise DataError(
                f"column {self.name!r}: expected values that increase and a share of each, got {self.values} and "
                f"{self.shares}."
            )
        if n_shares and not ((shares[1:-1] > 0).all() and (shares >= 0).all()):
            raise DataError(f"column {self.name!r}: expected shares above 0, got {self.shares}.")

    @property
    def is_rounded(self) -> bool:
        """Whether it has masses: values on a grid, or few of them."""
        return self.step > 0 or self.kind == "discrete"

    @property
    def is_whole(self) -> bool:
        """Whether all its values are whole numbers, or may be: those of a constant one must be looked at."""
        if self.kind == "discrete":
            return all(value % 1 == 0 for value in self.values)
        return self.step % 1 == self.origin % 1 == 0 if self.step else self.kind == "constant"

    @property
    def edges(self) -> np.ndarray:
        """Edges of the cells of `values`, one more than these: half-way between them, or half a step beside them."""
        if self.kind == "discrete":
            return bin_edges(np.array(self.values))
        return np.append(np.array(self.values) - self.step / 2, self.values[-1] + self.step / 2)

    @property
    def first(self) -> float:
        """The first value of its grid from `lower` on.

        >>> Column("hour", "circular", lower=1.0, upper=25.0, step=1.0, origin=7.0).first
        1.0
        """
        return self.origin + self.step * math.ceil((self.lower - self.origin) / self.step - 1e-9) if self.step else 0.0

    @property
    def label(self) -> str:
        """The name, with the unit in brackets unless the name says it."""
        return self.name + (f" ({self.unit})" if self.unit and self.unit not in self.name else "")

    def describe(self) -> str:
        """The kind with its numbers, in a few words.

        >>> Column("age", "positive", lower=-0.5, step=1.0).describe()
        'positive, above -0.5; rounded to 1'
        """
        words = {
            "real": "real",
            "positive": f"positive, above {self.lower:g}",
            "softplus": f"above {self.lower:g}",
            "bounded": f"bounded, {self.lower:g} to {self.upper:g}",
            "circular": f"circular, {self.lower:g} to {self.upper:g}, cut at {self.centre:g}",
            "heavy": f"heavy tails, indices {self.below:.2g} below and {self.above:.2g} above",
            "discrete": self._describe_values(),
            "constant": f"constant, {self.centre:g}",
        }[self.kind]
        if self.kind == "discrete":
            return words
        has_end = self.values and self.shares[-1] == 0 and self.kind != "bounded"
        end = f", up to {self.values[-1]:g}" if has_end else ""
        return words + (f"; rounded to {self.step:g}{end}" if self.step else "")

    def _describe_values(self) -> str:
        values = self.values
        if len(values) <= _LISTED:
            return "one of " + ", ".join(f"{value:g}" for value in values)
        return f"one of {len(values)} values from {values[0]:g} to {values[-1]:g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without what is as by default."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {name: value for name, value in plain.items() if vars(self)[name] != fields[name]}

    @classmethod
    def from_dict(cls, values: Any) -> "Column":
        """The column of `to_dict`, checked."""
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not {"name"} <= set(values) <= set(fields):
            raise DataError(f"column: expected a dict with some of {', '.join(fields)}, got {values!r}.")
        found: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(fields[name], tuple):
                if not isinstance(value, list | tuple) or not all(map(_is_number, value)):
                    raise DataError(
                        f"column {values['name']!r}: expected {name} to be a list of numbers, got {value!r}."
                    )
                found[name] = tuple(map(float, value))
                continue
            is_number = isinstance(fields[name], float)
            if is_number != _is_number(value) or not (is_number or isinstance(value, str)):
                kind = "a number" if is_number else "text"
                raise DataError(f"column {values['name']!r}: expected {name} to be {kind}, got {value!r}.")
            found[name] = float(value) if is_number else value
        return cls(**found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def declared(name: str, text: Any) -> Column:
    """The column of a declaration such as "positive", "bounded:0:1" or ("rounded", 0.5); data fill in the rest.

    A `category` and a `circular` column without ends, and the tails of a `heavy` one, take theirs from the data.

    Args:
        name: of the column.
        text: see `DECLARATIONS`; a tuple of a word and numbers stands for them with colons between.

    Raises:
        DataError: for a word that is unknown, and numbers that are missing, too many, or not in order.

    >>> declared("share", ("bounded", 0, 1)).describe()
    'bounded, 0 to 1'
    >>> declared("age", "count").describe()
    'above -0.5; rounded to 1'
    """
    if isinstance(text, tuple | list) and text:
        text = ":".join(str(part) for part in text)
    if not isinstance(text, str):
        raise DataError(f"column {name!r}: expected a declaration ({DECLARATIONS}), got {text!r}.")
    made = Column(name, source="declared")
    for part in text.split("+"):
        word, *numbers = (piece.strip() for piece in part.split(":"))
        if word not in _MAKERS:
            raise DataError(f"column {name!r}: expected one of {DECLARATIONS}, got {part!r}.")
        fewest, most, make = _MAKERS[word]
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)) or not fewest <= len(values) <= most:
            raise DataError(f"column {name!r}: expected {word} with its numbers as in {DECLARATIONS}, got {part!r}.")
        made = dataclasses.replace(made, **make(*values))
    if made.kind in ("bounded", "circular") and not made.lower < made.upper:
        raise DataError(
            f"column {name!r}: expected a lower end below the upper one, got {made.lower:g} and {made.upper:g}: "
            "exchange them, or correct one."
        )
    n_steps = (made.upper - made.lower) / made.step if made.kind == "circular" and made.step > 0 else 1.0
    if abs(n_steps - round(n_steps)) > 1e-6:
        raise DataError(
            f"column {name!r}: expected a circle of a whole number of steps, got {n_steps:g} steps of {made.step:g} "
            f"from {made.lower:g} to {made.upper:g}: correct the ends, or declare it circular alone."
        )
    if made.step < 0 or (made.step == 0 and "rounded" in text):
        raise DataError(f"column {name!r}: expected a step above 0, got {text!r}.")
    return made


# word: fewest and most numbers, and the fields they make
_MAKERS: dict[str, tuple[int, int, Any]] = {
    "real": (0, 0, lambda: {"kind": "real"}),
    "positive": (0, 1, lambda lower=0.0: {"kind": "positive", "lower": lower}),
    "bounded": (2, 2, lambda lower, upper: {"kind": "bounded", "lower": lower, "upper": upper}),
    "circular": (2, 2, lambda lower, upper: {"kind": "circular", "lower": lower, "upper": upper}),
    "heavy": (0, 0, lambda: {"kind": "heavy"}),
    "constant": (0, 0, lambda: {"kind": "constant"}),
    "whole": (0, 0, lambda: {"step": 1.0}),
    "count": (0, 0, lambda: {"kind": "softplus", "lower": -0.5, "step": 1.0}),
    "category": (0, 0, lambda: {"step": 1.0, "note": "category"}),
    "rounded": (1, 1, lambda step: {"step": step}),
}
