"""Checks for all formats, chunk by chunk, so that a table need not fit into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pushforward.errors import TableError
from pushforward.tabular.files.table import Chunk, Selection, Table, chunk_size

_SHOWN = 3


@dataclass(eq=False)
class _Faults:
    """Counts of rows and faults so far, and the positions of the first faults for the message."""

    names: Sequence[str]
    rows: int = 0
    complete_rows: int = 0
    infinite: int = 0
    first_infinite: str = ""
    missing: int = 0
    first_missing: list[str] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        values = chunk.values
        self.rows += len(values)
        if np.isfinite(values).all():
            return
        infinite, missing = np.argwhere(np.isinf(values)), np.argwhere(np.isnan(values))
        if len(infinite) and not self.infinite:
            row, column = infinite[0].tolist()
            self.first_infinite = f"{chunk.position(row)}, column {self.names[column]!r} is {values[row, column]}"
        for row, column in missing[: _SHOWN - len(self.first_missing)].tolist():
            self.first_missing.append(f"{chunk.position(row)}, column {self.names[column]!r}")
        self.infinite += len(infinite)
        self.missing += len(missing)


def checked_batches(
    selection: Selection, names: Sequence[str], chunks: Iterator[Chunk], drop_na: bool
) -> Iterator[Table]:
    """Yield the rows in batches of a bounded size, columns split from context.

    After the first fault no batch follows, but the file is read to its end, so that the error has the number of
    faults. A batch is empty if all its rows are dropped.

    Args:
        selection: the columns to read.
        names: of the columns of every chunk, the context's last.
        chunks: of the file, in order.
        drop_na: drop rows with a missing cell instead of raising an error.

    Raises:
        TableError: at the end of the file, for infinite cells, for missing ones unless `drop_na`, or for no rows.

    >>> from pathlib import Path
    >>> chunks = iter([Chunk(np.array([[1.0], [np.nan]])), Chunk(np.array([[3.0]]), first=2)])
    >>> tables = checked_batches(Selection(Path("t.csv"), None, None), ["a"], chunks, drop_na=True)
    >>> [(table.values.tolist(), table.dropped) for table in tables]
    [([[1.0]], 1), ([[3.0]], 0)]
    """
    faults, step = _Faults(names), chunk_size(len(names))
    split, share = len(names) - len(selection.context or ()), 0.0
    for chunk in chunks:
        faults.add(chunk)
        if faults.infinite or (faults.missing and not drop_na):
            continue
        for start in range(0, len(chunk.values), step):
            values = chunk.values[start : start + step]
            n_rows = len(values)
            share += (chunk.share - share) * n_rows / (len(chunk.values) - start)
            numbers = np.arange(n_rows) + (faults.rows - len(chunk.values) + start + 1)
            if faults.missing:
                is_complete = ~np.isnan(values).any(axis=1)
                values, numbers = values[is_complete], numbers[is_complete]
            faults.complete_rows += len(values)
            yield Table(
                np.ascontiguousarray(values[:, :split]),
                tuple(names[:split]),
                selection.path,
                np.ascontiguousarray(values[:, split:]),
                tuple(names[split:]),
                n_rows - len(values),
                share,
                numbers,
            )
    _raise_faults(selection.path, faults, drop_na)


def _raise_faults(path: Path, faults: _Faults, drop_na: bool) -> None:
    if not faults.rows:
        raise TableError(f"{path}: the table has 0 rows: at least one is needed.")
    if faults.infinite:
        raise TableError(
            f"{path}: {faults.first_infinite}, the first of {faults.infinite} infinite cells: correct or remove these "
            "rows."
        )
    if faults.missing and not drop_na:
        shown = "; ".join(faults.first_missing) + (", ..." if faults.missing > _SHOWN else "")
        count = "1 cell is missing" if faults.missing == 1 else f"{faults.missing} cells are missing"
        raise TableError(
            f"{path}: {count} ({shown}): fill them in, or drop their rows with --drop-na (in Python drop_na=True)."
        )
    if not faults.complete_rows:
        raise TableError(f"{path}: every row has a missing cell, none is left: choose columns with --columns.")


def join(tables: Sequence[Table]) -> Table:
    """Join the batches of one file into one table.

    Args:
        tables: at least one, of the same columns.

    >>> from pathlib import Path
    >>> parts = [Table(np.ones((n, 1)), ("a",), Path("t.csv"), np.ones((n, 0)), (), 1) for n in (2, 3)]
    >>> join(parts).values.shape, join(parts).dropped
    ((5, 1), 2)
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    return Table(
        np.concatenate([table.values for table in tables]),
        first.columns,
        first.path,
        np.concatenate([table.context for table in tables]),
        first.context_columns,
        sum(table.dropped for table in tables),
        numbers=np.concatenate([table.numbers for table in tables]),
    )
