"""Checks of the arguments of recipes."""

from collections.abc import Sequence


def check_count(**counts: int) -> None:
    """Raise a ValueError for sizes that are not positive integers."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1, got {count!r}.")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError for a name that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}.")
