"""A model file with its notes, and the data that fit it: a table's columns in its order, or pictures of its shape."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pushforward.core.dequantised import Dequantised
from pushforward.errors import DataError, ModelFileError
from pushforward.tabular.schema import Column, TableSchema


def load_model(path: Path, *, verify: bool = True) -> tuple[Any, dict[str, Any]]:
    """The flow and its notes; columns are named x0, x1, ... and c0, c1, ... where the file says nothing.

    A flow of images has no columns. Both come from one opening of the file.

    `verify`: whether the file's stored scores are compared, which a command that computes nothing need not wait for.
    """
    from pushforward.persistence import load_with_notes

    flow, notes = load_with_notes(path, verify=verify)
    if is_image_model(flow):
        return flow, notes
    if len(flow.shape) != 1 or len(flow.context_shape or (0,)) != 1:
        raise ModelFileError(
            f"{path}: models an event of shape {flow.shape} given a context of shape {flow.context_shape}; the command "
            "line needs rows of a table, or whole-numbered images without a context: use pushforward.load in Python."
        )
    n_context = flow.context_shape[0] if flow.context_shape else 0
    n_columns = flow.shape[0] if "plan" not in notes else len(schema_of(path, flow, notes).columns)
    for field, letter, count in (("columns", "x", n_columns), ("context_columns", "c", n_context)):
        found = notes.setdefault(field, [f"{letter}{index}" for index in range(count)])
        if not isinstance(found, list) or len(found) != count or any(not isinstance(name, str) for name in found):
            raise ModelFileError(
                f"{path}: its notes have {found!r} as {field}, expected {count} names: save the model again."
            )
    return flow, notes


def number_in(notes: dict[str, Any], name: str) -> float | None:
    """A number among the notes; None where it is missing or of another type, for notes are the user's own JSON.

    >>> number_in({"held_out_nats": -1}, "held_out_nats"), number_in({"held_out_nats": [1.0]}, "held_out_nats")
    (-1.0, None)
    """
    value = notes.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= sys.float_info.max else None


def schema_of(path: Path, flow: Any, notes: dict[str, Any]) -> TableSchema:
    """The schema of the model's columns; without one in the file, every column is real."""
    if "plan" not in notes:
        return TableSchema(tuple(Column(name) for name in notes["columns"]))
    try:
        schema = TableSchema.from_dict(notes["plan"])
    except DataError as error:
        raise ModelFileError(f"{path}: its notes hold no valid schema ({error}): save the model again.") from error
    if len(schema.modelled_indices) != flow.shape[0] or list(schema.names) != notes.get("columns", list(schema.names)):
        raise ModelFileError(
            f"{path}: its schema has the columns {', '.join(schema.names)}, which are not those of the model: save "
            "the model again."
        )
    return schema


def is_image_model(flow: Any) -> bool:
    """Whether a flow's events are images of whole numbers, (H, W, C), with nothing given."""
    return isinstance(flow, Dequantised) and len(flow.shape) == 3 and flow.context_shape is None


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """Rows of a file or folder that a model can score.

    Attributes:
        x: events (n, *shape).
        context: (n, *context_shape), or None.
        numbers: of the rows in the file, counted from 1; dropped ones count too.
        dropped: rows that were left out here, for a cell of theirs is missing.
        share: how much of the file has been read with these, from 0 to 1.
    """

    x: np.ndarray
    context: np.ndarray | None
    numbers: np.ndarray
    dropped: int = 0
    share: float = 1.0


def matching_rows(flow: Any, notes: dict[str, Any], data: Path, drop_na: bool) -> Matched:
    """All rows of a file or folder.

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
        return Matched(pictures, None, np.arange(1, len(pictures) + 1))
    from pushforward.tabular.files import read_table

    table = read_table(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return _matched(schema_of(data, flow, notes), table, str(data))


def matching_batches(flow: Any, notes: dict[str, Any], data: Path, drop_na: bool) -> Iterator[Matched]:
    """What `matching_rows` reads, in batches: a table need not fit into memory; pictures come as one batch."""
    if is_image_model(flow):
        return iter([matching_rows(flow, notes, data, drop_na)])
    from pushforward.tabular.files import read_batches

    schema = schema_of(data, flow, notes)
    tables = read_batches(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return (_matched(schema, table, str(data)) for table in tables)


def _matched(schema: TableSchema, table: Any, name: str) -> Matched:
    x = schema.drop_constants(table.values, name, table.numbers)
    context = table.context if table.context_columns else None
    return Matched(x, context, table.numbers, table.dropped, table.share)
