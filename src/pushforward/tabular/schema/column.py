"""The type of one column of a table, with the parameters of that type and their source."""

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
    """The type of one column of a table, and the parameters of its map.

    Attributes:
        name: of the column.
        kind: its type, one of `KINDS`.
        lower, upper: ends of the support, of positive and softplus (`lower`), bounded and circular columns.
        centre, scale: median and quartile scale of real and heavy columns; `centre` is also the value of a constant
            column, and the point at which the circle of a circular column is cut.
        below, above: tail indices of heavy columns: P(|x| > t) falls like t^(-1/index).
        step: of the grid to which values were rounded; 0 for none.
        origin: a value on that grid.
        values: increasing: all possible values of a discrete column; all values of the grid within the data's range
            of a rounded column with few values; else none.
        shares: of the data: first that below all `values`, then that of each value, last that above all of them. The
            first and the last are 0 where no value is possible.
        source: "declared" by the caller, "detected" in the data, or "default".
        note: the reason for this type, as text.
        unit: of the values, as text.
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
            raise DataError(f"column {self.name!r}: expected kind to be one of {', '.join(KINDS)}, got {self.kind!r}.")
        numbers = [value for value in vars(self).values() if isinstance(value, float)]
        if not all(map(math.isfinite, numbers)):
            raise DataError(f"column {self.name!r}: expected finite numbers, got {numbers}.")
        n_shares = len(self.values) + 2 if self.values else 0
        values, shares = np.asarray(self.values), np.asarray(self.shares)
        is_valid = len(values) != 1 and len(shares) == n_shares and bool(self.values) >= (self.kind == "discrete")
        if not (is_valid and np.isfinite(values).all() and (np.diff(values) > 0).all() and np.isfinite(shares).all()):
            raise DataError(
                f"column {self.name!r}: expected increasing values and a share of each, got {self.values} and "
                f"{self.shares}."
            )
        if n_shares and not ((shares[1:-1] > 0).all() and (shares >= 0).all()):
            raise DataError(f"column {self.name!r}: expected shares above 0, got {self.shares}.")

    @property
    def is_rounded(self) -> bool:
        """Whether values have masses, not densities: the column is rounded to a grid, or discrete."""
        return self.step > 0 or self.kind == "discrete"

    @property
    def is_integer(self) -> bool:
        """Whether all values are integers; of a constant column, whether they may be."""
        if self.kind == "discrete":
            return all(value % 1 == 0 for value in self.values)
        return self.step % 1 == self.origin % 1 == 0 if self.step else self.kind == "constant"

    @property
    def edges(self) -> np.ndarray:
        """Edges (K + 1,) of the bins of `values` (K,): half-way between discrete values, else half a step from each."""
        if self.kind == "discrete":
            return bin_edges(np.array(self.values))
        return np.append(np.array(self.values) - self.step / 2, self.values[-1] + self.step / 2)

    @property
    def first(self) -> float:
        """The first value of the grid that is not below `lower`.

        >>> Column("hour", "circular", lower=1.0, upper=25.0, step=1.0, origin=7.0).first
        1.0
        """
        return self.origin + self.step * math.ceil((self.lower - self.origin) / self.step - 1e-9) if self.step else 0.0

    @property
    def label(self) -> str:
        """The name, with the unit in brackets unless the name contains it."""
        return self.name + (f" ({self.unit})" if self.unit and self.unit not in self.name else "")

    def describe(self) -> str:
        """The type and its parameters as text.

        >>> Column("age", "positive", lower=-0.5, step=1.0).describe()
        'positive, above -0.5; rounded to 1'
        """
        text = {
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
            return text
        has_end = self.values and self.shares[-1] == 0 and self.kind != "bounded"
        end = f", up to {self.values[-1]:g}" if has_end else ""
        return text + (f"; rounded to {self.step:g}{end}" if self.step else "")

    def _describe_values(self) -> str:
        values = self.values
        if len(values) <= _LISTED:
            return "one of " + ", ".join(f"{value:g}" for value in values)
        return f"one of {len(values)} values from {values[0]:g} to {values[-1]:g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the attributes that have their default value."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {name: value for name, value in plain.items() if vars(self)[name] != defaults[name]}

    @classmethod
    def from_dict(cls, values: Any) -> "Column":
        """The column from the output of `to_dict`; a DataError if it is not valid."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not {"name"} <= set(values) <= set(defaults):
            raise DataError(f"expected a dict with some of {', '.join(defaults)}, got {values!r}.", "column")
        attributes: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(defaults[name], tuple):
                if not isinstance(value, list | tuple) or not all(map(_is_number, value)):
                    raise DataError(
                        f"column {values['name']!r}: expected {name} to be a list of numbers, got {value!r}."
                    )
                attributes[name] = tuple(map(float, value))
                continue
            is_number = isinstance(defaults[name], float)
            if is_number != _is_number(value) or not (is_number or isinstance(value, str)):
                kind = "a number" if is_number else "text"
                raise DataError(f"column {values['name']!r}: expected {name} to be {kind}, got {value!r}.")
            attributes[name] = float(value) if is_number else value
        return cls(**attributes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_declaration(name: str, text: Any) -> Column:
    """Parse a declaration such as "positive", "bounded:0:1" or ("rounded", 0.5) into a column.

    The codes of a `category`, the cut of a `circular` column and the tails of a `heavy` one come from the data later.

    Args:
        name: of the column.
        text: see `DECLARATIONS`; a tuple of a word and numbers means these joined by colons.

    Raises:
        DataError: for an unknown word, for missing or additional numbers, and for numbers that are not in order.

    >>> parse_declaration("share", ("bounded", 0, 1)).describe()
    'bounded, 0 to 1'
    >>> parse_declaration("age", "count").describe()
    'above -0.5; rounded to 1'
    """
    if isinstance(text, tuple | list) and text:
        text = ":".join(str(part) for part in text)
    if not isinstance(text, str):
        raise DataError(f"column {name!r}: expected a declaration ({DECLARATIONS}), got {text!r}.")
    column = Column(name, source="declared")
    for part in text.split("+"):
        word, *numbers = (piece.strip() for piece in part.split(":"))
        if word not in _ATTRIBUTES:
            raise DataError(f"column {name!r}: expected one of {DECLARATIONS}, got {part!r}.")
        fewest, most, make = _ATTRIBUTES[word]
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)) or not fewest <= len(values) <= most:
            raise DataError(f"column {name!r}: expected {word} with its numbers as in {DECLARATIONS}, got {part!r}.")
        column = dataclasses.replace(column, **make(*values))
    if column.kind in ("bounded", "circular") and not column.lower < column.upper:
        raise DataError(
            f"column {name!r}: expected a lower end below the upper one, got {column.lower:g} and {column.upper:g}: "
            "exchange them, or correct one."
        )
    n_steps = (column.upper - column.lower) / column.step if column.kind == "circular" and column.step > 0 else 1.0
    if abs(n_steps - round(n_steps)) > 1e-6:
        raise DataError(
            f"column {name!r}: expected a circle of a whole number of steps, got {n_steps:g} steps of {column.step:g} "
            f"from {column.lower:g} to {column.upper:g}: correct the ends, or declare it circular alone."
        )
    if column.step < 0 or (column.step == 0 and "rounded" in text):
        raise DataError(f"column {name!r}: expected a step above 0, got {text!r}.")
    return column


# word: fewest and most numbers, and the attributes that they determine
_ATTRIBUTES: dict[str, tuple[int, int, Any]] = {
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
