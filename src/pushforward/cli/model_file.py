"""A model file with its notes, and the data that fit it: a table's columns in its order, or pictures of its shape."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pushforward.columns import Column, Plan
from pushforward.dequantise import Dequantised
from pushforward.errors import DataError, ModelFileError


def load_model(path: Path, *, verify: bool = True) -> tuple[Any, dict[str, Any]]:
    """The flow and its notes; columns are named x0, x1, ... and c0, c1, ... where the file says nothing.

    A flow of images has no columns.

    `verify`: whether the file's stored scores are compared, which a command that computes nothing need not wait for.
    """
    from pushforward.persistence import load, read_notes

    flow, notes = load(path, verify=verify), read_notes(path)
    if is_image_model(flow):
        return flow, notes
    if len(flow.shape) != 1 or len(flow.context_shape or (0,)) != 1:
        raise ModelFileError(
            f"{path}: models an event of shape {flow.shape} given a context of shape {flow.context_shape}; the command "
            "line needs rows of a table, or whole-numbered images without a context: use pushforward.load in Python."
        )
    n_context = flow.context_shape[0] if flow.context_shape else 0
    n_columns = flow.shape[0] if "plan" not in notes else len(plan_of(path, flow, notes).columns)
    for field, letter, count in (("columns", "x", n_columns), ("context_columns", "c", n_context)):
        found = notes.setdefault(field, [f"{letter}{index}" for index in range(count)])
        if not isinstance(found, list) or len(found) != count or any(not isinstance(name, str) for name in found):
            raise ModelFileError(
                f"{path}: its notes have {found!r} as {field}, expected {count} names: save the model again."
            )
    return flow, notes


def plan_of(path: Path, flow: Any, notes: dict[str, Any]) -> Plan:
    """The plan of the model's columns; where the file has none, every column is what it is."""
    if "plan" not in notes:
        return Plan(tuple(Column(name) for name in notes["columns"]))
    try:
        plan = Plan.from_dict(notes["plan"])
    except DataError as error:
        raise ModelFileError(f"{path}: its notes hold a plan that is none ({error}): save the model again.") from error
    if len(plan.modelled) != flow.shape[0] or list(plan.names) != notes.get("columns", list(plan.names)):
        raise ModelFileError(
            f"{path}: its plan is of the columns {', '.join(plan.names)}, which are not those of the model: save the "
            "model again."
        )
    return plan


def is_image_model(flow: Any) -> bool:
    """Whether a flow's events are images of whole numbers, (H, W, C), with nothing given."""
    return isinstance(flow, Dequantised) and len(flow.shape) == 3 and flow.context_shape is None


def matching_rows(flow: Any, notes: dict[str, Any], data: Path, drop_na: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The events of a file or folder, and context rows or None.

    A table's columns are matched by name whatever their order; pictures come in the order of their files' names.
    """
    if is_image_model(flow):
        from pushforward.datasets.images import read_pictures

        if drop_na:
            raise typer.BadParameter(
                "the model is one of pictures, which have no missing cells.", param_hint="--drop-na"
            )
        pictures = read_pictures(data)
        if pictures.shape[1:] != flow.shape:
            raise DataError(
                f"{data}: expected pictures of shape {flow.shape} (height, width, colours) as the model has, got "
                f"{pictures.shape[1:]}: bring them to that size."
            )
        return pictures, None
    from pushforward.tables import read_table

    table = read_table(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    values = plan_of(data, flow, notes).select(table.values, str(data), table.numbers)
    return values, table.context if table.context_columns else None


def matching_batches(
    flow: Any, notes: dict[str, Any], data: Path, drop_na: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | None, int, float]]:
    """What `matching_rows` reads, in batches: events, context rows or None, rows dropped, and the share read by then.

    A table need not fit into memory; pictures come as one batch.
    """
    if is_image_model(flow):
        return iter([(*matching_rows(flow, notes, data, drop_na), 0, 1.0)])
    from pushforward.tables import read_batches

    return _table_batches(
        plan_of(data, flow, notes),
        read_batches(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na),
        str(data),
    )


def _table_batches(
    plan: Plan, tables: Iterator[Any], name: str
) -> Iterator[tuple[np.ndarray, np.ndarray | None, int, float]]:
    for table in tables:
        values = plan.select(table.values, name, table.numbers)
        yield values, table.context if table.context_columns else None, table.dropped, table.share
