"""The container of a model file: named tensors and one strict JSON header, in the safetensors format.

A file is checked in this order: its size, the length of the header, the header's JSON, the tensors declared there, and
the tensors that the configuration needs. Only if all agree are the tensors read, and their hash compared.

The reader of safetensors is not used, so none of its checks is made twice: it opens the file by its name, maps it into
memory, and knows neither duplicate keys nor the tensors that are expected.
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
MAX_NESTING = 256  # of JSON; a module has two levels
_CHUNK_BYTES = 1 << 20
_KEY = "pushforward"
_FOREIGN = "It was written by another program, or its header is damaged"

# safetensors' names of number types
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


class Spec(NamedTuple):
    """Type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * numpy_dtype(self.dtype).itemsize


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy type for a name in `DTYPES`; bfloat16 comes from JAX."""
    return np.dtype(jnp.bfloat16) if name == "bfloat16" else np.dtype(name)


def damaged(fault: str) -> ModelFileError:
    """The error for a damaged or altered file."""
    return ModelFileError(f"{fault}. The file is damaged or was altered: fetch it again, or save the flow again.")


def pack(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file; `header` has no hash yet."""
    if len(tensors) > MAX_TENSORS:
        raise ModelFileError(
            f"the flow has {len(tensors):,} arrays, more than {MAX_TENSORS:,}: use Repeat for its layers."
        )
    header = {**header, "sha256": _digest(header, _contents(tensors))}
    content = safetensors.numpy.save(tensors, metadata={_KEY: _canonical(header)})
    if (length := int.from_bytes(content[:8], "little")) > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"the header would take {length:,} bytes, more than the {MAX_HEADER_BYTES:,} allowed: use Repeat "
            "instead of long chains, or shorter notes."
        )
    return content


def read(
    path: Path, expected: Callable[[dict[str, Any]], dict[str, Spec]] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the tensors of a file, which is opened once.

    Args:
        path: of the file.
        expected: returns the tensors that a header's configuration needs; they are compared before a tensor is read.
            With None no tensor is returned, and memory does not grow with the file.

    Raises:
        ModelFileError: if the file is not valid; the message does not have the path.
    """
    try:
        with open(path, "rb", opener=_open_without_blocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError("is not an ordinary file: give the path of a file written by pushforward.save.")
            return _read(file, status.st_size, expected)
    except FileNotFoundError:
        raise ModelFileError("does not exist: check the path and its folder.") from None
    except IsADirectoryError:
        raise ModelFileError("is a folder: give the path of a file written by pushforward.save.") from None
    except MemoryError as error:
        raise ModelFileError("has tensors that do not fit into the memory of this machine.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"cannot be read ({error}): check the path and its permissions.") from error


def _open_without_blocking(path: str, flags: int) -> int:
    """An opener that does not wait for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read(
    file: BufferedReader, size: int, expected: Callable[[dict[str, Any]], dict[str, Spec]] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if size < 8:
        raise damaged(f"has {size} bytes, too few for a model file")
    length = int.from_bytes(_read_exactly(file, 8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ModelFileError(
            f"is not a model file, or is damaged: its header would have {length:,} bytes, allowed are "
            f"{min(MAX_HEADER_BYTES, size - 8):,} here. Give a file written by pushforward.save."
        )
    outer = strict_json(_read_exactly(file, length))
    header = _inner_header(outer)
    stored, starts = _stored_specs(outer, size - 8 - length)
    if expected is not None and (needed := expected(header)) != stored:
        name = min(name for name in {*needed, *stored} if needed.get(name) != stored.get(name))
        raise damaged(f"tensor {name!r}: the configuration needs {needed.get(name)}, the file has {stored.get(name)}")
    # In chunks first: a wrong hash is an error before memory for the tensors is allocated.
    ranges = {name: (8 + length + starts[name], spec.n_bytes) for name, spec in stored.items()}
    unhashed = {key: value for key, value in header.items() if key != "sha256"}
    _check_hash(header, _digest(unhashed, {name: _chunks(file, *range_) for name, range_ in ranges.items()}))
    if expected is None:
        return header, {}
    tensors = {name: _tensor(file, ranges[name][0], spec, name) for name, spec in stored.items()}
    _check_hash(header, _digest(unhashed, _contents(tensors)))  # again, for the file may have changed meanwhile
    return header, tensors


def _check_hash(header: dict[str, Any], digest: str) -> None:
    if digest != header["sha256"]:
        raise damaged("the hash of its content differs from the stored one")


def _read_exactly(file: BufferedReader, n_bytes: int) -> bytes:
    content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise damaged("became shorter while it was read")
    return content


def _chunks(file: BufferedReader, start: int, n_bytes: int) -> Iterator[bytes]:
    """A part of a file, read chunk by chunk."""
    file.seek(start)
    for done in range(0, n_bytes, _CHUNK_BYTES):
        yield _read_exactly(file, min(_CHUNK_BYTES, n_bytes - done))


def _tensor(file: BufferedReader, start: int, spec: Spec, name: str) -> np.ndarray:
    tensor = np.empty(spec.shape, numpy_dtype(spec.dtype))
    content: Any = tensor.reshape(-1).view(np.uint8)
    file.seek(start)
    if file.readinto(content) != spec.n_bytes:
        raise damaged("became shorter while it was read")
    if spec.dtype == "bool" and tensor.view(np.uint8).max(initial=0) > 1:
        raise damaged(f"tensor {name!r} has truth values other than 0 and 1")
    return tensor


def _inner_header(outer: Any) -> dict[str, Any]:
    metadata = outer.get("__metadata__") if isinstance(outer, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {_KEY} or not isinstance(metadata[_KEY], str):
        raise ModelFileError(f"is not a pushforward model. {_FOREIGN}: give a file written by pushforward.save.")
    header = strict_json(metadata[_KEY].encode())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"does not have the format {FORMAT!r}. {_FOREIGN}: save the flow again.")
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
            raise damaged(f"the header's {key} is not text")
    if not isinstance(header["notes"], dict):
        raise damaged("the header's notes are not a JSON object")
    return header


def _stored_specs(outer: dict[str, Any], n_bytes: int) -> tuple[dict[str, Spec], dict[str, int]]:
    """Specs and start positions of the tensors; they must fill the rest of the file without gaps or overlap."""
    if len(outer) > MAX_TENSORS + 1:
        raise damaged(f"declares {len(outer) - 1:,} tensors, more than the {MAX_TENSORS:,} allowed")
    specs, ranges = {}, []
    for name, entry in outer.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise damaged(f"tensor {name!r} is not described by dtype, shape and data_offsets")
        dtype, offsets = entry["dtype"], entry["data_offsets"]
        spec = parse_spec(name, DTYPES.get(dtype) if isinstance(dtype, str) else None, entry["shape"])
        if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != spec.n_bytes:
            raise damaged(f"tensor {name!r} of {spec} needs {spec.n_bytes:,} bytes, its data_offsets are {offsets}")
        specs[name] = spec
        ranges.append(tuple(offsets))
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            raise damaged("its tensors overlap or leave gaps")
        end = stop
    if end != n_bytes:
        raise damaged(f"its tensors need {end:,} bytes, the file has {n_bytes:,}: it was truncated or extended")
    return specs, {name: outer[name]["data_offsets"][0] for name in specs}


def parse_spec(name: str, dtype: Any, shape: Any) -> Spec:
    """A tensor's spec from the type and shape in a header; a ModelFileError if they are not valid."""
    if not isinstance(dtype, str) or dtype not in DTYPES.values():
        raise damaged(f"tensor {name!r} has an unknown type of numbers")
    if not _are_counts(shape) or len(shape) > 32 or math.prod(size for size in shape if size) > 1 << 48:
        raise damaged(f"tensor {name!r} has an invalid shape")
    return Spec(dtype, tuple(shape))


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _digest(header: dict[str, Any], contents: Mapping[str, Iterable[Any]]) -> str:
    """SHA-256 of the header and of every tensor's bytes under its name, so that every change is detected."""
    total = hashlib.sha256(_canonical(header).encode())
    for name in sorted(contents):
        total.update(name.encode() + b"\0")
        for chunk in contents[name]:
            total.update(chunk)
    return total.hexdigest()


def _contents(tensors: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    return {name: [np.ascontiguousarray(value).reshape(-1).view(np.uint8)] for name, value in tensors.items()}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def strict_json(text: bytes) -> Any:
    """Parse JSON; duplicate keys, NaN, infinities, text after the end, and deep nesting are errors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique_pairs = dict(pairs)
        if len(unique_pairs) != len(pairs):
            raise damaged("its header has a key twice")
        return unique_pairs

    def refuse(literal: str) -> Any:
        raise damaged(f"its header has the number {literal}")

    def finite(literal: str) -> float:
        value = float(literal)
        return value if math.isfinite(value) else refuse(literal)

    try:
        value = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse, parse_float=finite)
        if nesting(value) > MAX_NESTING:
            raise RecursionError
        return value
    except RecursionError:
        raise damaged(f"its header is nested more than {MAX_NESTING} levels deep") from None
    except ValueError as error:  # not UTF-8, not JSON, an integer of thousands of digits
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"is not a model file, or its header is damaged ({error}): fetch it again.") from None


def nesting(value: Any) -> int:
    """Depth of nested lists and objects; counting stops just above `MAX_NESTING`.

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
