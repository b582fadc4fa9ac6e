"""A model file with its notes, and a table's columns in the model's order."""

from pathlib import Path
from typing import Any

import numpy as np

from pushforward.errors import ModelFileError


def load_model(path: Path, *, verify: bool = True) -> tuple[Any, dict[str, Any]]:
    """The flow and its notes; columns are named x0, x1, ... and c0, c1, ... where the file says nothing.

    `verify`: whether the file's stored scores are compared, which a command that computes nothing need not wait for.
    """
    from pushforward.persistence import load, read_notes

    flow, notes = load(path, verify=verify), read_notes(path)
    if len(flow.shape) != 1 or len(flow.context_shape or (0,)) != 1:
        raise ModelFileError(
            f"{path}: models an event of shape {flow.shape} given a context of shape {flow.context_shape}; the command "
            "line needs rows of a table: use pushforward.load in Python."
        )
    n_context = flow.context_shape[0] if flow.context_shape else 0
    for field, letter, count in (("columns", "x", flow.shape[0]), ("context_columns", "c", n_context)):
        found = notes.setdefault(field, [f"{letter}{index}" for index in range(count)])
        if not isinstance(found, list) or len(found) != count or any(not isinstance(name, str) for name in found):
            raise ModelFileError(
                f"{path}: its notes have {found!r} as {field}, expected {count} names: save the model again."
            )
    return flow, notes


def matching_table(data: Path, notes: dict[str, Any], drop_na: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of a file in the model's columns, matched by name whatever their order; context rows or None."""
    from pushforward.tables import read_table

    table = read_table(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return table.values, table.context if table.context_columns else None
