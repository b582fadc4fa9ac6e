"""A model file with its notes, and a table's columns in the model's order."""

from pathlib import Path
from typing import Any

import numpy as np

from pushforward.errors import TableError


def load_model(path: Path) -> tuple[Any, dict[str, Any]]:
    """The flow and its notes; columns are named x0, x1, ... where the file says nothing."""
    from pushforward.persistence import load, read_notes

    flow, notes = load(path), read_notes(path)
    n_context = flow.context_shape[0] if flow.context_shape else 0
    notes.setdefault("columns", [f"x{i}" for i in range(flow.shape[0])])
    notes.setdefault("context_columns", [f"c{i}" for i in range(n_context)])
    return flow, notes


def matching_table(data: Path, notes: dict[str, Any], drop_na: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of a file in the model's columns, matched by name whatever their order; context rows or None."""
    from pushforward.tables import read_table

    table = read_table(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return table.values, table.context if table.context_columns else None


def parse_given(given: str | None, notes: dict[str, Any]) -> np.ndarray | None:
    """`--given a=1.5,b=2` as a context in the model's order."""
    wanted = notes["context_columns"]
    parts = [part.partition("=") for part in (given or "").split(",") if part.strip()]
    values: dict[str, float] = {}
    for name, _, text in parts:
        try:
            values[name.strip()] = float(text)
        except ValueError:
            raise TableError(f"--given: expected {name.strip()}=NUMBER, got {text!r}.") from None
    if set(values) != set(wanted) or len(values) != len(parts):
        expected = ",".join(f"{name}=VALUE" for name in wanted) or "nothing (the model is unconditional)"
        raise TableError(f"--given: expected {expected}, got {given!r}.")
    return np.array([values[name] for name in wanted]) if wanted else None
