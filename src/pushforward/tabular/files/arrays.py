"""NPY and NPZ files: no pickles, and the declared size is compared with the file before memory is taken."""

import io
import itertools
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from pushforward.core.named_rows import as_floats
from pushforward.errors import DataError, TableError
from pushforward.tabular.files.table import Cells, Wanted, rows_at_once

_KINDS = {"O": "Python objects", "U": "text", "S": "bytes", "V": "records", "c": "complex numbers", "b": "true/false"}
_KINDS |= {"M": "dates", "m": "durations"}
_BOMB_RATIO, _BOMB_BYTES = 200, 64 * 2**20
_NAMES = "columns"
_SHOWN = 3
_UNREADABLE = (ValueError, TypeError, SyntaxError, TokenError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class _Declared:
    """What the header of an NPY stream promises, and where the numbers start."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def bytes(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_npy(wanted: Wanted) -> tuple[tuple[str, ...], Iterator[Cells]]:
    """The array of an NPY file, (n, d) or (n,), as columns x0, x1, ..."""
    where = f"{wanted.path}"
    with wanted.path.open("rb") as file:
        declared = _real(where, _declared(where, file, wanted.path.stat().st_size))
    names, picked = _picked(wanted, _width(where, declared.shape), None)
    return names, _pieces(wanted.path, declared, names, picked)


def _pieces(path: Path, declared: _Declared, names: Sequence[str], picked: list[int]) -> Iterator[Cells]:
    """Rows are read as they are needed: pages of a mapped file would count as memory that the process holds."""
    length, width = declared.shape[0], _width(f"{path}", declared.shape)
    step = rows_at_once(width)
    with path.open("rb") as file:
        for first in range(0, length, step):
            here = min(step, length - first)
            if declared.fortran:
                columns = [_run(path, file, declared, position * length + first, here) for position in picked]
                values = np.stack(columns, axis=1)
            else:
                rows = _run(path, file, declared, first * width, here * width)
                values = rows.reshape(here, width)[:, picked]
            yield Cells(_floats(path, values, names, first), first=first, share=(first + here) / length)


def _floats(path: Path, values: np.ndarray, names: Sequence[str], first: int = 0) -> np.ndarray:
    try:
        return as_floats("", values, names, np.arange(first + 1, first + len(values) + 1))
    except DataError as error:
        raise TableError(f"{path}: {error}") from error


def _run(path: Path, file: IO[bytes], declared: _Declared, start: int, count: int) -> np.ndarray:
    """So many numbers that follow one another in the file."""
    file.seek(declared.start + start * declared.dtype.itemsize)
    content = file.read(count * declared.dtype.itemsize)
    if len(content) != count * declared.dtype.itemsize:
        raise TableError(f"{path} ends early: write it again.")
    return np.frombuffer(content, declared.dtype)


def read_npz(wanted: Wanted) -> tuple[tuple[str, ...], Iterator[Cells]]:
    """The one table of an NPZ file: a single array, `values` with `columns` as we write it, or 1-D arrays by name.

    It is read as a whole: an archive may be compressed, and its 1-D arrays lie one after the other.
    """
    path = wanted.path
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            numeric = {name: member for name, member in members.items() if name != _NAMES}
            arrays = {name: _member(path, archive, member) for name, member in numeric.items()}
            names = _stored_names(path, archive, members[_NAMES]) if _NAMES in members else None
    # zipfile answers an unknown compression method with NotImplementedError and an encrypted member with RuntimeError
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise TableError(f"{path}: the file is no readable NPZ archive ({fault}): write it again.") from fault
    if len(arrays) == 1:
        (name, values), *_ = arrays.items()
        return _columns(wanted, _matrix(f"{path}: array {name!r}", values), names)
    if arrays and len({values.shape for values in arrays.values()}) == 1 and next(iter(arrays.values())).ndim == 1:
        chosen, _ = _picked(wanted, len(arrays), tuple(arrays))
        columns = [_floats(path, arrays[name][:, None], [name]) for name in chosen]
        return chosen, iter([Cells(np.concatenate(columns, axis=1))])
    shapes = ", ".join(f"{name!r} {values.shape}" for name, values in arrays.items()) or "none"
    raise TableError(
        f"{path}: the arrays are {shapes}, expected one (n, d) array or 1-D arrays of one length: save one table only."
    )


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays by name; together they may not grow far beyond the file, whatever each of them does."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise TableError(
                f"{path}: two members are called {name!r} ({members[name].filename} and {member.filename}): rename one."
            )
        members[name] = member
    size, total = path.stat().st_size, sum(member.file_size for member in members.values())
    if total > _BOMB_BYTES and total > _BOMB_RATIO * size:
        names = ", ".join(map(repr, itertools.islice(members, _SHOWN))) + (", ..." if len(members) > _SHOWN else "")
        arrays = "array" if len(members) == 1 else "arrays"
        raise TableError(f"{path}: {arrays} {names} would grow from {size} to {total} bytes: save them as NPY.")
    return members


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    where = f"{path}: array {member.filename.removesuffix('.npy')!r}"
    with archive.open(member) as file:
        return _numbers(where, file, member.file_size)


def _stored_names(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, ...]:
    where = f"{path}: array {_NAMES!r}"
    with archive.open(member) as file:
        declared = _declared(where, file, member.file_size)
        if declared.dtype.kind != "U" or len(declared.shape) != 1 or member.file_size > _BOMB_BYTES:
            raise TableError(f"{where} holds no list of names: store it as a 1-D array of text.")
        content = file.read(declared.bytes - declared.start)
    return tuple(str(name) for name in np.frombuffer(content, declared.dtype))


def _numbers(where: str, file: IO[bytes] | io.BufferedIOBase, size: int) -> np.ndarray:
    declared = _real(where, _declared(where, file, size))
    values = np.frombuffer(file.read(declared.bytes - declared.start), declared.dtype)
    if values.size != math.prod(declared.shape):
        raise TableError(f"{where} ends early: write it again.")
    return values.reshape(declared.shape, order="F" if declared.fortran else "C")


def _real(where: str, declared: _Declared) -> _Declared:
    if declared.dtype.kind not in "fiu":
        kind = _KINDS.get(declared.dtype.kind, f"{declared.dtype}")
        raise TableError(f"{where} holds {kind}, expected real numbers: convert it to float64 before saving.")
    return declared


def _declared(where: str, file: IO[bytes] | io.BufferedIOBase, size: int) -> _Declared:
    """Parse the header (a literal, never code), and hold its promise against the bytes that are there."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise TableError(f"{where} has NPY version {version}, expected 1.0 or 2.0: save plain numbers.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a header of Python 2 is a valid one
            shape, fortran, dtype = read[version](file)
    except TableError:
        raise
    except _UNREADABLE as fault:
        raise TableError(f"{where} is no readable NPY array: write it again with numpy.save.") from fault
    declared = _Declared(dtype, tuple(int(length) for length in shape), fortran, file.tell())
    if dtype.kind != "O" and (min(declared.shape, default=0) < 0 or declared.bytes != size):
        raise TableError(
            f"{where} declares {dtype} of shape {declared.shape}, {declared.bytes} bytes with its header, but has "
            f"{size}: the file is damaged, write it again."
        )
    return declared


def _matrix(where: str, values: np.ndarray) -> np.ndarray:
    width = _width(where, values.shape)
    return values.reshape(len(values), width)


def _width(where: str, shape: tuple[int, ...]) -> int:
    if len(shape) not in (1, 2):
        raise TableError(f"{where} has shape {shape}, expected (n, d), or (n,) for one column: reshape it.")
    return shape[1] if len(shape) == 2 else 1


def _columns(
    wanted: Wanted, values: np.ndarray, names: Sequence[str] | None
) -> tuple[tuple[str, ...], Iterator[Cells]]:
    chosen, picked = _picked(wanted, values.shape[1], names)
    return chosen, iter([Cells(_floats(wanted.path, values[:, picked], chosen))])


def _picked(wanted: Wanted, width: int, names: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    names = tuple(f"x{position}" for position in range(width)) if names is None else tuple(names)
    if len(names) != width:
        raise TableError(
            f"{wanted.path}: {len(names)} names are stored for {width} columns: store one for each column."
        )
    picked = wanted.pick(names)
    return tuple(names[position] for position in picked), picked
