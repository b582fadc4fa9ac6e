"""Reads a model file with its notes, and data for the model: the columns of a table, or images."""

import contextlib
import dataclasses
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pushforward.core.dequantised import Dequantised
from pushforward.errors import DataError, ModelFileError
from pushforward.tabular.schema import Column, TableSchema

_LISTED = 6  # most names in a message


def load_model(path: Path, *, verify: bool = True) -> tuple[Any, dict[str, Any]]:
    """Load a flow and its notes. Columns without names are called x0, x1, ... and c0, c1, ...

    A flow of images has no columns. The file is opened once for both.

    `verify`: whether to compare the stored scores; a command that computes no scores can skip that.
    """
    from pushforward.persistence import load_with_notes

    flow, notes = load_with_notes(path, verify=verify)
    if is_image_model(flow):
        return flow, notes
    if len(flow.shape) != 1 or len(flow.context_shape or (0,)) != 1:
        raise ModelFileError(
            f"{path}: models an event of shape {flow.shape} given a context of shape {flow.context_shape}; the command "
            "line needs rows of a table, or images of integers without a context: use pushforward.load in Python."
        )
    n_context = flow.context_shape[0] if flow.context_shape else 0
    n_columns = flow.shape[0] if "plan" not in notes else len(schema_of(path, flow, notes).columns)
    for field, letter, count in (("columns", "x", n_columns), ("context_columns", "c", n_context)):
        columns = notes.setdefault(field, _unnamed(letter, count))
        if not isinstance(columns, list) or len(columns) != count or any(not isinstance(name, str) for name in columns):
            raise ModelFileError(
                f"{path}: its notes have {columns!r} as {field}, expected {count} names: save the model again."
            )
    return flow, notes


def number_in(notes: dict[str, Any], name: str) -> float | None:
    """A number in the notes; None if it is missing or has another type, since users may write notes.

    >>> number_in({"held_out_nats": -1}, "held_out_nats"), number_in({"held_out_nats": [1.0]}, "held_out_nats")
    (-1.0, None)
    """
    value = notes.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= sys.float_info.max else None


def schema_of(path: Path, flow: Any, notes: dict[str, Any]) -> TableSchema:
    """The schema of the model's columns; if the file has none, all columns are real."""
    if "plan" not in notes:
        return TableSchema(tuple(Column(name) for name in notes["columns"]))
    try:
        schema = TableSchema.from_dict(notes["plan"])
    except DataError as error:
        raise ModelFileError(
            f"{path}: the schema in its notes cannot be read ({error}): save the model again."
        ) from error
    if len(schema.modelled_indices) != flow.shape[0] or list(schema.names) != notes.get("columns", list(schema.names)):
        raise ModelFileError(
            f"{path}: the columns of its schema, {', '.join(schema.names)}, are not those of the model: save the model "
            "again."
        )
    return schema


def is_image_model(flow: Any) -> bool:
    """Whether a flow models images (H, W, C) of integers, without a context."""
    return isinstance(flow, Dequantised) and len(flow.shape) == 3 and flow.context_shape is None


@dataclasses.dataclass(frozen=True, eq=False)
class MatchingRows:
    """Rows of a file or folder that a model can score.

    Attributes:
        x: events (n, *shape).
        context: (n, *context_shape), or None.
        numbers: row numbers in the file, counted from 1, dropped rows included.
        dropped: number of rows that were left out because a cell is missing.
        share: share of the file that has been read so far, from 0 to 1.
    """

    x: np.ndarray
    context: np.ndarray | None
    numbers: np.ndarray
    dropped: int = 0
    share: float = 1.0


def matching_rows(flow: Any, notes: dict[str, Any], data: Path, drop_na: bool) -> MatchingRows:
    """Read all rows of a file or folder.

    The columns of a table are matched by name, in any order; pictures are read in the order of their file names.
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
        return MatchingRows(pictures, None, np.arange(1, len(pictures) + 1))
    from pushforward.tabular.files import read_table

    with _columns_named(notes):
        table = read_table(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return _select_columns(schema_of(data, flow, notes), table, str(data))


def matching_batches(flow: Any, notes: dict[str, Any], data: Path, drop_na: bool) -> Iterator[MatchingRows]:
    """Read the rows of `matching_rows` in batches, so that a table need not fit in memory; pictures are one batch."""
    if is_image_model(flow):
        return iter([matching_rows(flow, notes, data, drop_na)])
    from pushforward.tabular.files import read_batches

    schema = schema_of(data, flow, notes)
    with _columns_named(notes):
        tables = read_batches(data, columns=notes["columns"], context=notes["context_columns"], drop_na=drop_na)
    return (_select_columns(schema, table, str(data)) for table in tables)


@contextlib.contextmanager
def _columns_named(notes: dict[str, Any]) -> Generator[None]:
    """Add what to do to the error for a missing column if the model was saved without the names of its columns."""
    from pushforward.tabular.files.table import MissingColumnError

    try:
        yield
    except MissingColumnError as error:
        names, contexts = notes["columns"], notes["context_columns"]
        if names != _unnamed("x", len(names)) or contexts != _unnamed("c", len(contexts)):
            raise
        shown = [*names, *contexts]
        listed = ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")
        raise MissingColumnError(
            f"{error} The model was fitted to columns without names: name them {listed} in "
            'the file, or save the model with their names, pushforward.save(path, flow, notes={"columns": [...]}).'
        ) from None


def _unnamed(letter: str, count: int) -> list[str]:
    """Names of columns for a model without any."""
    return [f"{letter}{index}" for index in range(count)]


def _select_columns(schema: TableSchema, table: Any, name: str) -> MatchingRows:
    x = schema.drop_constants(table.values, name, table.numbers)
    context = table.context if table.context_columns else None
    return MatchingRows(x, context, table.numbers, table.dropped, table.share)
