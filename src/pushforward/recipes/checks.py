"""Checks of the arguments of recipes, and how a recipe passes its arguments on."""

from collections.abc import Mapping, Sequence
from typing import Any


def check_count(**counts: int) -> None:
    """Raise a ValueError for sizes that are not positive integers."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1, got {count!r}.")


def check_sizes(context_dim: int | None, **counts: int) -> None:
    """Raise a ValueError for sizes that are not positive integers; the context may be absent."""
    check_count(**counts)
    if context_dim is not None:
        check_count(context_dim=context_dim)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError for a name that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}.")


def without(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The arguments but for those of these names.

    A recipe passes `locals()` on, without the arguments that it uses itself: its signature is the only list of its
    arguments, and one that the builder does not take is an error.

    >>> without({"dim": 2, "n_bins": 8}, "n_bins")
    {'dim': 2}
    """
    return {name: value for name, value in arguments.items() if name not in names}
