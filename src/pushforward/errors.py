"""The exceptions of pushforward, and the warning for deprecated names.

Messages state what was expected, what came, and what to do.
"""

import warnings
from typing import NamedTuple


class ShapeError(ValueError):
    """An array does not have the shape that a bijection, distribution or network declares."""


class DataError(ValueError):
    """The data cannot be modelled: missing, infinite, constant or too few values.

    Args:
        reason: what was expected, what came, and what to do.
        argument: name of the argument at fault, with which the message then begins; "" for none.
    """

    def __init__(self, reason: str = "", argument: str = "") -> None:
        super().__init__(f"{argument}: {reason}" if argument else reason)
        self.reason, self.argument = reason, argument


class OffsetWarning(UserWarning):
    """A column's mean is so large against its spread that float32 has few digits left for its samples."""


class TableError(ValueError):
    """A table file cannot be read or written; the message names file, row, column and value."""


class ModelFileError(ValueError):
    """A model file has another format, is damaged, or needs something that this version does not have."""


class CheckpointError(ValueError):
    """A folder of checkpoints holds another run, or one that was not to be continued."""


class NumericError(ArithmeticError):
    """A computation with finite input gave NaN or an infinite value."""


class InverseError(NumericError):
    """A numerical inverse did not converge to its tolerance."""


class TrainingDiverged(NumericError):
    """Training had repeated non-finite losses; the message names the epoch and the learning rate."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {package}, which is not installed: pip install "pushforward[{extra}]".')


class Deprecation(NamedTuple):
    """The name to use instead of a deprecated one, and the versions that deprecated it and will remove it."""

    instead: str
    since: str
    removed_in: str


# the one table of deprecated names, which docs/reference/versioning.md prints
DEPRECATIONS = {
    "plan_": Deprecation("schema_", "0.1", "0.2"),
    "sentence": Deprecation("message", "0.1", "0.2"),
    "remedy": Deprecation("fix", "0.1", "0.2"),
}


def warn_deprecated(name: str) -> None:
    """Warn the caller's caller that it uses a name of `DEPRECATIONS`."""
    instead, since, removed_in = DEPRECATIONS[name]
    warnings.warn(
        f"{name} is deprecated since {since}, and {removed_in} removes it: use {instead}.",
        DeprecationWarning,
        stacklevel=3,
    )
