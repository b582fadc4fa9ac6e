"""The checks that recipes share."""

from collections.abc import Sequence


def check_count(**counts: int) -> None:
    """Refuse sizes that are no positive whole numbers, in a sentence."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1, got {count!r}.")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a name that is not among the choices, in a sentence."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}.")
