"""The container of a model file: named tensors and one strict JSON header, in the safetensors format.

A file is read from the outside inwards: its size, the length of the header, the header's JSON, the tensors that the
header announces, what the configuration asks for; only when all of these agree is a tensor read, and then its hash.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from pushforward.errors import ModelFileError

FORMAT = "pushforward flow"
FORMAT_VERSION = 1
HEADER_KEYS = {"format", "format_version", "library_version", "dtype", "flow", "notes", "probe", "sha256"}
MAX_HEADER_BYTES = 8 << 20
MAX_TENSORS = 40_000
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
    header = {**header, "sha256": _digest(header, tensors)}
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
    """The header and the tensors of a file.

    Args:
        path: of the file.
        expected: the tensors that a header's configuration asks for; compared before a tensor is read.

    Raises:
        ModelFileError: if anything does not fit, without the path in the sentence.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # before opening: a pipe would wait for a writer for ever
            kind = "a folder" if stat.S_ISDIR(mode) else "no ordinary file"
            raise ModelFileError(f"is {kind}: give the path of a file that pushforward.save has written.")
        with path.open("rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, expected)
    except FileNotFoundError:
        raise ModelFileError("does not exist: check the path and its folder.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"cannot be read ({error}): check the path and its permissions.") from error


def _read(
    file: BinaryIO, size: int, expected: Callable[[dict[str, Any]], dict[str, Spec]] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if size < 8:
        raise damaged(f"holds {size} bytes, too few for a model file")
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ModelFileError(
            f"is no model file, or is damaged: its header would have {length:,} bytes, allowed are "
            f"{min(MAX_HEADER_BYTES, size - 8):,} here. Give a file that pushforward.save has written."
        )
    outer = strict_json(file.read(length))
    header = _inner_header(outer)
    announced = _announced(outer, size - 8 - length)
    if expected is not None and (wanted := expected(header)) != announced:
        differing = sorted(name for name in {*wanted, *announced} if wanted.get(name) != announced.get(name))
        name = differing[0]
        raise damaged(
            f"tensor {name!r}: the configuration asks for {wanted.get(name)}, the file holds {announced.get(name)}"
        )
    file.seek(0)
    content = file.read(size)
    if len(content) != size:
        raise damaged("became shorter while it was read")
    tensors = _unpack(content, announced)
    if _digest({key: value for key, value in header.items() if key != "sha256"}, tensors) != header["sha256"]:
        raise damaged("the hash of its content does not agree with the stored one")
    return header, tensors


def _inner_header(outer: Any) -> dict[str, Any]:
    metadata = outer.get("__metadata__") if isinstance(outer, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {_KEY} or not isinstance(metadata[_KEY], str):
        raise ModelFileError(f"is no pushforward model. {_OLDER}: give a file that pushforward.save has written.")
    header = strict_json(metadata[_KEY].encode())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"does not say that its format is {FORMAT!r}. {_OLDER}: save the flow again.")
    version = header.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelFileError(
            f"has format version {version!r}, this pushforward reads version {FORMAT_VERSION}: install a pushforward "
            f"as new as the one that wrote it ({header.get('library_version')!r})."
        )
    if set(header) != HEADER_KEYS:
        raise damaged(f"the header's keys are {sorted(header)}, expected {sorted(HEADER_KEYS)}")
    for key in ("library_version", "dtype", "sha256"):
        if not isinstance(header[key], str):
            raise damaged(f"the header's {key} is no text")
    if not isinstance(header["notes"], dict):
        raise damaged("the header's notes are no JSON object")
    return header


def _announced(outer: dict[str, Any], n_bytes: int) -> dict[str, Spec]:
    """The tensors of the outer header, which must fill the rest of the file without holes or overlap."""
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
    return specs


def checked_spec(name: str, dtype: Any, shape: Any) -> Spec:
    """A tensor's type and shape as a header gives them, refused if they are none."""
    if not isinstance(dtype, str) or dtype not in DTYPES.values():
        raise damaged(f"tensor {name!r} has an unknown type of numbers")
    if not _are_counts(shape) or len(shape) > 32 or math.prod(size for size in shape if size) > 1 << 48:
        raise damaged(f"tensor {name!r} has an impossible shape")
    return Spec(dtype, tuple(shape))


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _unpack(content: bytes, announced: dict[str, Spec]) -> dict[str, np.ndarray]:
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise damaged(f"safetensors refuses it ({error})") from None
    tensors = {}
    for name, entry in entries:
        spec = announced[name]
        tensor = np.frombuffer(bytearray(entry["data"]), numpy_dtype(spec.dtype)).reshape(spec.shape)
        if spec.dtype == "bool" and tensor.view(np.uint8).max(initial=0) > 1:
            raise damaged(f"tensor {name!r} holds truth values other than 0 and 1")
        tensors[name] = tensor
    return tensors


def _digest(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 of the header and of every tensor under its name, so that no part can change unseen."""
    total = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        total.update(name.encode() + b"\0" + np.ascontiguousarray(tensors[name]).tobytes())
    return total.hexdigest()


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
        return json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise damaged("its header is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, an integer of thousands of digits
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"is no model file, or its header is damaged ({error}): fetch it again.") from None
