"""The checks that every format shares, piece by piece, so that a table need not fit into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pushforward.errors import TableError
from pushforward.tabular.files.table import Cells, Table, Wanted, rows_at_once

_SHOWN = 3


@dataclass(eq=False)
class _Seen:
    """The faults met so far: all of them are counted, and the first of them are kept to be shown."""

    names: Sequence[str]
    rows: int = 0
    kept: int = 0
    infinite: int = 0
    first_infinite: str = ""
    missing: int = 0
    first_missing: list[str] = field(default_factory=list)

    def add(self, cells: Cells) -> None:
        values = cells.values
        self.rows += len(values)
        if np.isfinite(values).all():
            return
        infinite, missing = np.argwhere(np.isinf(values)), np.argwhere(np.isnan(values))
        if len(infinite) and not self.infinite:
            row, column = infinite[0].tolist()
            self.first_infinite = f"{cells.place(row)}, column {self.names[column]!r} is {values[row, column]}"
        for row, column in missing[: _SHOWN - len(self.first_missing)].tolist():
            self.first_missing.append(f"{cells.place(row)}, column {self.names[column]!r}")
        self.infinite += len(infinite)
        self.missing += len(missing)


def checked_batches(wanted: Wanted, names: Sequence[str], pieces: Iterator[Cells], drop_na: bool) -> Iterator[Table]:
    """The rows in batches of a bounded size, columns split from context.

    After the first fault nothing is handed out, but the file is read to its end: the sentence says how many cells are
    at fault. A batch is empty where all its rows were dropped.

    Args:
        wanted: the columns that were asked for.
        names: of the columns of every piece, the context's last.
        pieces: of the file, in order.
        drop_na: drop rows with a missing cell instead of refusing them.

    Raises:
        TableError: an infinite cell, a missing one unless its row is dropped, or no row at all; at the end of the file.

    >>> from pathlib import Path
    >>> pieces = iter([Cells(np.array([[1.0], [np.nan]])), Cells(np.array([[3.0]]), first=2)])
    >>> tables = checked_batches(Wanted(Path("t.csv"), None, None), ["a"], pieces, drop_na=True)
    >>> [(table.values.tolist(), table.dropped) for table in tables]
    [([[1.0]], 1), ([[3.0]], 0)]
    """
    seen, step = _Seen(names), rows_at_once(len(names))
    split, share = len(names) - len(wanted.context or ()), 0.0
    for cells in pieces:
        seen.add(cells)
        if seen.infinite or (seen.missing and not drop_na):
            continue
        for start in range(0, len(cells.values), step):
            values = cells.values[start : start + step]
            share += (cells.share - share) * len(values) / (len(cells.values) - start)
            numbers = np.arange(len(values)) + (seen.rows - len(cells.values) + start + 1)
            whole = values
            if seen.missing:
                is_whole = ~np.isnan(values).any(axis=1)
                whole, numbers = values[is_whole], numbers[is_whole]
            seen.kept += len(whole)
            yield Table(
                np.ascontiguousarray(whole[:, :split]),
                tuple(names[:split]),
                wanted.path,
                np.ascontiguousarray(whole[:, split:]),
                tuple(names[split:]),
                len(values) - len(whole),
                share,
                numbers,
            )
    _refuse(wanted, seen, drop_na)


def _refuse(wanted: Wanted, seen: _Seen, drop_na: bool) -> None:
    path = wanted.path
    if not seen.rows:
        raise TableError(f"{path}: the table has 0 rows: at least one is needed.")
    if seen.infinite:
        raise TableError(
            f"{path}: {seen.first_infinite}, the first of {seen.infinite} infinite cells: correct or remove these rows."
        )
    if seen.missing and not drop_na:
        shown = "; ".join(seen.first_missing) + (", ..." if seen.missing > _SHOWN else "")
        count = "1 cell is missing" if seen.missing == 1 else f"{seen.missing} cells are missing"
        raise TableError(
            f"{path}: {count} ({shown}): fill them in, or drop their rows with --drop-na (in Python drop_na=True)."
        )
    if not seen.kept:
        raise TableError(f"{path}: every row has a missing cell, none is left: choose columns with --columns.")


def joined(tables: Sequence[Table]) -> Table:
    """The batches of one file as one table.

    Args:
        tables: at least one, of the same columns.

    >>> from pathlib import Path
    >>> parts = [Table(np.ones((n, 1)), ("a",), Path("t.csv"), np.ones((n, 0)), (), 1) for n in (2, 3)]
    >>> joined(parts).values.shape, joined(parts).dropped
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
