"""NPY and NPZ files, without pickles. The size in a header is compared with the file before memory is allocated."""

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
from pushforward.tabular.files.table import Chunk, Selection, chunk_size

_KINDS = {"O": "Python objects", "U": "text", "S": "bytes", "V": "records", "c": "complex numbers", "b": "true/false"}
_KINDS |= {"M": "dates", "m": "durations"}
_BOMB_RATIO, _BOMB_BYTES = 200, 64 * 2**20
_NAMES = "columns"
_SHOWN = 3
_UNREADABLE = (ValueError, TypeError, SyntaxError, TokenError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class _Header:
    """The header of an NPY stream; `start` is the position of the first number."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def bytes(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_npy(selection: Selection) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """The array of an NPY file, (n, d) or (n,), as columns x0, x1, ..."""
    where = f"{selection.path}"
    with selection.path.open("rb") as file:
        header = _check_real(where, _read_header(where, file, selection.path.stat().st_size))
    names, indices = _select(selection, _width(where, header.shape), None)
    return names, _chunks(selection.path, header, names, indices)


def _chunks(path: Path, header: _Header, names: Sequence[str], indices: list[int]) -> Iterator[Chunk]:
    """Read the rows chunk by chunk. A memory map would not do: its pages count as memory of the process."""
    length, width = header.shape[0], _width(f"{path}", header.shape)
    step = chunk_size(width)
    with path.open("rb") as file:
        for first in range(0, length, step):
            n_rows = min(step, length - first)
            if header.fortran:
                columns = [_read_numbers(path, file, header, index * length + first, n_rows) for index in indices]
                values = np.stack(columns, axis=1)
            else:
                rows = _read_numbers(path, file, header, first * width, n_rows * width)
                values = rows.reshape(n_rows, width)[:, indices]
            yield Chunk(_floats(path, values, names, first), first=first, share=(first + n_rows) / length)


def _floats(path: Path, values: np.ndarray, names: Sequence[str], first: int = 0) -> np.ndarray:
    try:
        return as_floats("", values, names, np.arange(first + 1, first + len(values) + 1))
    except DataError as error:
        raise TableError(f"{path}: {error}") from error


def _read_numbers(path: Path, file: IO[bytes], header: _Header, start: int, count: int) -> np.ndarray:
    """Read `count` consecutive numbers from index `start` on."""
    file.seek(header.start + start * header.dtype.itemsize)
    content = file.read(count * header.dtype.itemsize)
    if len(content) != count * header.dtype.itemsize:
        raise TableError(f"{path} ends early: write it again.")
    return np.frombuffer(content, header.dtype)


def read_npz(selection: Selection) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """The table of an NPZ file: a single array, `values` with `columns` as we write it, or 1-D arrays by name.

    It is read in one chunk: an archive may be compressed, and stores its 1-D arrays one after the other.
    """
    path = selection.path
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            numeric = {name: member for name, member in members.items() if name != _NAMES}
            arrays = {name: _member(path, archive, member) for name, member in numeric.items()}
            names = _stored_names(path, archive, members[_NAMES]) if _NAMES in members else None
    # zipfile raises NotImplementedError for an unknown compression method, and RuntimeError for an encrypted member
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise TableError(f"{path}: the file is not a readable NPZ archive ({fault}): write it again.") from fault
    if len(arrays) == 1:
        (name, values), *_ = arrays.items()
        return _columns(selection, _matrix(f"{path}: array {name!r}", values), names)
    if arrays and len({values.shape for values in arrays.values()}) == 1 and next(iter(arrays.values())).ndim == 1:
        names, _ = _select(selection, len(arrays), tuple(arrays))
        columns = [_floats(path, arrays[name][:, None], [name]) for name in names]
        return names, iter([Chunk(np.concatenate(columns, axis=1))])
    shapes = ", ".join(f"{name!r} {values.shape}" for name, values in arrays.items()) or "none"
    raise TableError(
        f"{path}: the arrays are {shapes}, expected one (n, d) array or 1-D arrays of one length: save one table only."
    )


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by array name; a TableError if their total size is far beyond that of the file."""
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
        header = _read_header(where, file, member.file_size)
        if header.dtype.kind != "U" or len(header.shape) != 1 or member.file_size > _BOMB_BYTES:
            raise TableError(f"{where} is not a list of names: store it as a 1-D array of text.")
        content = file.read(header.bytes - header.start)
    return tuple(str(name) for name in np.frombuffer(content, header.dtype))


def _numbers(where: str, file: IO[bytes] | io.BufferedIOBase, size: int) -> np.ndarray:
    header = _check_real(where, _read_header(where, file, size))
    values = np.frombuffer(file.read(header.bytes - header.start), header.dtype)
    if values.size != math.prod(header.shape):
        raise TableError(f"{where} ends early: write it again.")
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _check_real(where: str, header: _Header) -> _Header:
    if header.dtype.kind not in "fiu":
        kind = _KINDS.get(header.dtype.kind, f"{header.dtype}")
        raise TableError(f"{where} holds {kind}, expected real numbers: convert it to float64 before saving.")
    return header


def _read_header(where: str, file: IO[bytes] | io.BufferedIOBase, size: int) -> _Header:
    """Parse the header (a literal, never code), and compare its size with that of the file."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise TableError(f"{where} has NPY version {version}, expected 1.0 or 2.0: save plain numbers.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a header written by Python 2 is valid
            shape, fortran, dtype = readers[version](file)
    except TableError:
        raise
    except _UNREADABLE as fault:
        raise TableError(f"{where} is not a readable NPY array: write it again with numpy.save.") from fault
    header = _Header(dtype, tuple(int(length) for length in shape), fortran, file.tell())
    if dtype.kind != "O" and (min(header.shape, default=0) < 0 or header.bytes != size):
        raise TableError(
            f"{where} declares {dtype} of shape {header.shape}, {header.bytes} bytes with its header, but has "
            f"{size}: the file is damaged, write it again."
        )
    return header


def _matrix(where: str, values: np.ndarray) -> np.ndarray:
    width = _width(where, values.shape)
    return values.reshape(len(values), width)


def _width(where: str, shape: tuple[int, ...]) -> int:
    if len(shape) not in (1, 2):
        raise TableError(f"{where} has shape {shape}, expected (n, d), or (n,) for one column: reshape it.")
    return shape[1] if len(shape) == 2 else 1


def _columns(
    selection: Selection, values: np.ndarray, names: Sequence[str] | None
) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    names, indices = _select(selection, values.shape[1], names)
    return names, iter([Chunk(_floats(selection.path, values[:, indices], names))])


def _select(selection: Selection, width: int, names: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    names = tuple(f"x{index}" for index in range(width)) if names is None else tuple(names)
    if len(names) != width:
        raise TableError(
            f"{selection.path}: {len(names)} names are stored for {width} columns: store one for each column."
        )
    indices = selection.indices(names)
    return tuple(names[index] for index in indices), indices
