"""The container of a model file: named tensors and one strict JSON header, in the safetensors format.

A file is read from the outside inwards: its size, the length of the header, the header's JSON, the tensors that the
header announces, what the configuration asks for; only when all of these agree is a tensor read, and then its hash.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from pushforward.errors import ModelFileError

FORMAT = "pushforward flow"
FORMAT_VERSION = 2  # 2: names of classes and fields as in 2026-12; `aliases` translates those of version 1
READABLE = (1, 2)
HEADER_KEYS = {"format", "format_version", "library_version", "dtype", "flow", "notes", "probe", "sha256"}
MAX_HEADER_BYTES = 8 << 20
MAX_TENSORS = 40_000
MAX_NESTING = 256  # of JSON: a module takes two levels
_PIECE = 1 << 20
_KEY = "pushforward"
_OLDER = "It was written by another program, or its header is damaged"

# The names that safetensors gives to types of numbers.
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


class Spec(NamedTuple):
    """What a tensor is before it is read."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * numpy_dtype(self.dtype).itemsize


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy type of a name in `DTYPES`; bfloat16 is JAX's."""
    return np.dtype(jnp.bfloat16) if name == "bfloat16" else np.dtype(name)


def damaged(what: str) -> ModelFileError:
    """The refusal of a file that was once good, or that somebody altered."""
    return ModelFileError(f"{what}. The file is damaged or was altered: fetch it again, or save the flow again.")


def pack(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file; `header` without its hash."""
    if len(tensors) > MAX_TENSORS:
        raise ModelFileError(
            f"the flow has {len(tensors):,} arrays, more than {MAX_TENSORS:,}: use Repeat for its layers."
        )
    header = {**header, "sha256": _digest(header, _contents(tensors))}
    content = safetensors.numpy.save(tensors, metadata={_KEY: _canonical(header)})
    if (length := int.from_bytes(content[:8], "little")) > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"the header would take {length:,} bytes, more than the {MAX_HEADER_BYTES:,} allowed: use Repeat in place "
            "of long chains, or shorter notes."
        )
    return content


def read(
    path: Path, expected: Callable[[dict[str, Any]], dict[str, Spec]] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the tensors of a file, all from one opening of it.

    Args:
        path: of the file.
        expected: the tensors that a header's configuration asks for; compared before a tensor is read. Without it no
            tensor is returned, and memory does not grow with the file.

    Raises:
        ModelFileError: if anything does not fit, without the path in the sentence.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError("is no ordinary file: give the path of a file that pushforward.save has written.")
            return _read(file, status.st_size, expected)
    except FileNotFoundError:
        raise ModelFileError("does not exist: check the path and its folder.") from None
    except IsADirectoryError:
        raise ModelFileError("is a folder: give the path of a file that pushforward.save has written.") from None
    except MemoryError as error:
        raise ModelFileError("holds tensors that do not fit into the memory of this machine.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"cannot be read ({error}): check the path and its permissions.") from error


def _without_waiting(path: str, flags: int) -> int:
    """An opener for which a pipe does not wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read(
    file: BufferedReader, size: int, expected: Callable[[dict[str, Any]], dict[str, Spec]] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if size < 8:
        raise damaged(f"holds {size} bytes, too few for a model file")
    length = int.from_bytes(_exactly(file, 8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ModelFileError(
            f"is no model file, or is damaged: its header would have {length:,} bytes, allowed are "
            f"{min(MAX_HEADER_BYTES, size - 8):,} here. Give a file that pushforward.save has written."
        )
    outer = strict_json(_exactly(file, length))
    header = _inner_header(outer)
    announced, starts = _announced(outer, size - 8 - length)
    if expected is not None and (wanted := expected(header)) != announced:
        differing = sorted(name for name in {*wanted, *announced} if wanted.get(name) != announced.get(name))
        name = differing[0]
        raise damaged(
            f"tensor {name!r}: the configuration asks for {wanted.get(name)}, the file holds {announced.get(name)}"
        )
    # In pieces first: a file of another hash is refused before its length is taken in memory.
    places = {name: (8 + length + starts[name], spec.n_bytes) for name, spec in announced.items()}
    unhashed = {key: value for key, value in header.items() if key != "sha256"}
    _check_hash(header, _digest(unhashed, {name: _pieces(file, *place) for name, place in places.items()}))
    if expected is None:
        return header, {}
    tensors = {name: _tensor(file, places[name][0], spec, name) for name, spec in announced.items()}
    _check_hash(header, _digest(unhashed, _contents(tensors)))  # once more: it may have been written to meanwhile
    return header, tensors


def _check_hash(header: dict[str, Any], digest: str) -> None:
    if digest != header["sha256"]:
        raise damaged("the hash of its content does not agree with the stored one")


def _exactly(file: BufferedReader, n_bytes: int) -> bytes:
    content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise damaged("became shorter while it was read")
    return content


def _pieces(file: BufferedReader, start: int, n_bytes: int) -> Iterator[bytes]:
    """A part of a file, read only as it is asked for."""
    file.seek(start)
    for done in range(0, n_bytes, _PIECE):
        yield _exactly(file, min(_PIECE, n_bytes - done))


def _tensor(file: BufferedReader, start: int, spec: Spec, name: str) -> np.ndarray:
    tensor = np.empty(spec.shape, numpy_dtype(spec.dtype))
    content: Any = tensor.reshape(-1).view(np.uint8)
    file.seek(start)
    if file.readinto(content) != spec.n_bytes:
        raise damaged("became shorter while it was read")
    if spec.dtype == "bool" and tensor.view(np.uint8).max(initial=0) > 1:
        raise damaged(f"tensor {name!r} holds truth values other than 0 and 1")
    return tensor


def _inner_header(outer: Any) -> dict[str, Any]:
    metadata = outer.get("__metadata__") if isinstance(outer, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {_KEY} or not isinstance(metadata[_KEY], str):
        raise ModelFileError(f"is no pushforward model. {_OLDER}: give a file that pushforward.save has written.")
    header = strict_json(metadata[_KEY].encode())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"does not say that its format is {FORMAT!r}. {_OLDER}: save the flow again.")
    version = header.get("format_version")
    if type(version) is not int or version not in READABLE:
        raise ModelFileError(
            f"has format version {version!r}, this pushforward reads versions 1 to {FORMAT_VERSION}: install a "
            f"pushforward as new as the one that wrote it ({header.get('library_version')!r})."
        )
    if set(header) != HEADER_KEYS:
        raise damaged(f"the header's keys are {sorted(header)}, expected {sorted(HEADER_KEYS)}")
    for key in ("library_version", "dtype", "sha256"):
        if not isinstance(header[key], str):
            raise damaged(f"the header's {key} is no text")
    if not isinstance(header["notes"], dict):
        raise damaged("the header's notes are no JSON object")
    return header


def _announced(outer: dict[str, Any], n_bytes: int) -> tuple[dict[str, Spec], dict[str, int]]:
    """The tensors of the outer header, which must fill the rest of the file without holes or overlap, and where they
    start.
    """
    if len(outer) > MAX_TENSORS + 1:
        raise damaged(f"announces {len(outer) - 1:,} tensors, more than the {MAX_TENSORS:,} allowed")
    specs, ranges = {}, []
    for name, entry in outer.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise damaged(f"tensor {name!r} is not described by dtype, shape and data_offsets")
        dtype, offsets = entry["dtype"], entry["data_offsets"]
        spec = checked_spec(name, DTYPES.get(dtype) if isinstance(dtype, str) else None, entry["shape"])
        if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != spec.n_bytes:
            raise damaged(f"tensor {name!r} of {spec} needs {spec.n_bytes:,} bytes, its place is {offsets}")
        specs[name] = spec
        ranges.append(tuple(offsets))
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            raise damaged("its tensors overlap or leave holes")
        end = stop
    if end != n_bytes:
        raise damaged(f"its tensors need {end:,} bytes, the file holds {n_bytes:,}: it was cut short or lengthened")
    return specs, {name: outer[name]["data_offsets"][0] for name in specs}


def checked_spec(name: str, dtype: Any, shape: Any) -> Spec:
    """A tensor's type and shape as a header gives them, refused if they are none."""
    if not isinstance(dtype, str) or dtype not in DTYPES.values():
        raise damaged(f"tensor {name!r} has an unknown type of numbers")
    if not _are_counts(shape) or len(shape) > 32 or math.prod(size for size in shape if size) > 1 << 48:
        raise damaged(f"tensor {name!r} has an impossible shape")
    return Spec(dtype, tuple(shape))


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _digest(header: dict[str, Any], contents: Mapping[str, Iterable[Any]]) -> str:
    """SHA-256 of the header and of every tensor's bytes under its name, so that no part can change unseen."""
    total = hashlib.sha256(_canonical(header).encode())
    for name in sorted(contents):
        total.update(name.encode() + b"\0")
        for piece in contents[name]:
            total.update(piece)
    return total.hexdigest()


def _contents(tensors: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    return {name: [np.ascontiguousarray(value).reshape(-1).view(np.uint8)] for name, value in tensors.items()}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def strict_json(text: bytes) -> Any:
    """JSON without duplicate keys, NaN, infinities or text after its end; too deep a nesting is refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise damaged("its header names a key twice")
        return found

    def refuse(literal: str) -> Any:
        raise damaged(f"its header holds the number {literal}")

    def finite(literal: str) -> float:
        value = float(literal)
        return value if math.isfinite(value) else refuse(literal)

    try:
        value = json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse, parse_float=finite)
        if nesting(value) > MAX_NESTING:
            raise RecursionError
        return value
    except RecursionError:
        raise damaged(f"its header is nested more than {MAX_NESTING} levels deep") from None
    except ValueError as error:  # no UTF-8, no JSON, an integer of thousands of digits
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"is no model file, or its header is damaged ({error}): fetch it again.") from None


def nesting(value: Any) -> int:
    """How many lists and objects lie within one another; counting ends just above `MAX_NESTING`.

    >>> nesting({"a": [1, []]})
    3
    """
    depth, level = 0, [value]
    while depth <= MAX_NESTING:
        level = [node for node in level if isinstance(node, dict | list | tuple)]
        if not level:
            break
        depth += 1
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return depth
