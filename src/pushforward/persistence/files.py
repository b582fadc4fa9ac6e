"""Saving of a flow to one file, and loading."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pushforward._version import __version__
from pushforward.core.arguments import as_path
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow_argument import check_flow_argument
from pushforward.errors import ModelFileError
from pushforward.numerics.programs import flatten, float_type
from pushforward.persistence import stored_scores
from pushforward.persistence.atomic_write import write_atomically
from pushforward.persistence.checks import check_flow
from pushforward.persistence.container import FORMAT, FORMAT_VERSION, nesting, pack, read, strict_json
from pushforward.persistence.tree import Registry, classes_of, decode, encode, expected_specs, registry

MAX_NOTES_NESTING = 100


def save(
    path: str | os.PathLike[str],
    flow: AbstractDistribution,
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = True,
) -> None:
    """Write a flow with its weights, structure and standardisation to one safetensors file.

    The file is written under a temporary name and renamed at the end: an interruption leaves an older file unchanged.

    Args:
        path: of the file, usually `*.safetensors`.
        flow: any distribution of modules with arrays, numbers, text, tuples, modules and named functions as fields.
        notes: plain JSON to store with it, such as names of columns; `read_notes` returns it.
        overwrite: whether an existing file is replaced.

    Cost: the size of the weights, one shape check of the flow, and sampling and scoring of the four points whose scores
    are stored.

    Raises:
        ModelFileError: if the flow has NaN, infinities or functions without a name, or the file cannot be written.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=2, key=0), notes={"columns": ["a", "b"]})
        >>> pf.load(path).shape
        (2,)
    """
    check_flow_argument("flow", flow, "save(path, flow)")
    target = as_path(path)
    try:
        _check_target(target, overwrite)
        content = _content(flow, {} if notes is None else notes)
        final = target.resolve()  # writes through a symbolic link
        write_atomically(final, lambda file: file.write(content), lambda: _check_target(final, overwrite))
    except OSError as error:
        reason = error.strerror or error
        raise ModelFileError(f"{target}: cannot be written ({reason}): choose another path.") from error
    except ModelFileError as error:
        raise ModelFileError(f"{target}: {error}") from error


def load(path: str | os.PathLike[str], *, extra: Iterable[Any] = (), verify: bool = True) -> AbstractDistribution:
    """Read a flow that `save` has written: the same structure and, bit for bit, the same numbers.

    No code of the file runs, and no name from it is imported. Sizes are compared with the file before memory is
    allocated, the content with its hash. The checks of every module run again, and the stored points are scored again,
    which detects a version that computes another density from the same numbers.

    Args:
        path: of the file.
        extra: your own classes and functions, such as activations, in the flow; the file has only their names. Modules
            of `equinox.nn`, and the element-wise functions of `jax.nn` and `jax.numpy`, are known.
        verify: whether the stored points are scored, which compiles the density as its first call would.

    Returns:
        The flow. Its arrays are of JAX or NumPy, as when saved.

    Cost: the size of the weights, one shape check of the flow, and the density of eight points.

    Raises:
        ModelFileError: if the file is missing, damaged, or of another kind or version; if it has an unknown class; or
            if the scores of the stored points differ.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=3, key=0))
        >>> pf.load(path).shape
        (3,)
    """
    return load_with_notes(path, extra=extra, verify=verify)[0]


def load_with_notes(
    path: str | os.PathLike[str], *, extra: Iterable[Any] = (), verify: bool = True
) -> tuple[AbstractDistribution, dict[str, Any]]:
    """The results of `load` and `read_notes`, with the file opened once, so that both are of the same file.

    Args:
        path, extra, verify: as for `load`.

    Raises:
        ModelFileError: as `load` does.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> from pushforward.persistence import load_with_notes
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=2, key=0), notes={"columns": ["a", "b"]})
        >>> flow, notes = load_with_notes(path)
        >>> flow.shape, notes
        ((2,), {'columns': ['a', 'b']})
    """
    target, known = as_path(path), registry(extra)
    try:
        header, tensors = read(
            target,
            lambda header: {**expected_specs(header["flow"], known), **stored_scores.parse_specs(header["probe"])},
        )
        flow = _rebuild(header, tensors, known)
        if verify:
            stored_scores.compare(flow, {name: tensors[name] for name in header["probe"]}, header["dtype"])
        return flow, header["notes"]
    except ModelFileError as error:
        raise ModelFileError(f"{target}: {error}") from error


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The notes that were saved with a flow, without the flow; the file's hash is checked.

    Args:
        path: of the file.

    Raises:
        ModelFileError: if the file is missing, damaged, or of another kind or version.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> from pushforward.persistence import read_notes
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=2, key=0), notes={"columns": ["a", "b"]})
        >>> read_notes(path)
        {'columns': ['a', 'b']}
    """
    target = as_path(path)
    try:
        return read(target)[0]["notes"]
    except ModelFileError as error:
        raise ModelFileError(f"{target}: {error}") from error


def _content(flow: AbstractDistribution, notes: dict[str, Any]) -> bytes:
    config, tensors = encode(flow)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "dtype": str(float_type(flatten(flow)[0])),
        "flow": config,
        "notes": _plain_notes(notes),
        "probe": {},
    }
    # rebuild it once, so that a flow that cannot be loaded is not saved
    known = registry(classes_of(flow))
    expected_specs(config, known)
    _rebuild(header, tensors, known)
    scores = stored_scores.score_samples(flow)
    return pack({**header, "probe": stored_scores.describe(scores)}, {**tensors, **scores})


def _plain_notes(notes: Any) -> dict[str, Any]:
    """The notes; a ModelFileError unless they are equal after a round trip through JSON."""
    try:
        if nesting(notes) > MAX_NOTES_NESTING:
            raise ValueError(f"nested more than {MAX_NOTES_NESTING} levels deep")
        parsed = strict_json(json.dumps(notes, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"notes: expected plain JSON ({error}): use text, finite numbers, lists and dicts with text as keys."
        ) from error
    if not isinstance(parsed, dict) or parsed != notes:
        raise ModelFileError(
            "notes: expected a dict of plain JSON that is equal when read back: use lists instead of tuples, and text "
            "as keys."
        )
    return parsed


def _rebuild(header: dict[str, Any], tensors: dict[str, Any], known: Registry) -> AbstractDistribution:
    flow = decode(header["flow"], known, tensors)
    check_flow(flow)
    if header["dtype"] != (dtype := str(float_type(flatten(flow)[0]))):
        raise ModelFileError(
            f"has the dtype {header['dtype']} in its header, but its numbers are {dtype}: save the flow again."
        )
    return flow


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise ModelFileError(f"is a folder, expected the name of a file: write {target / 'flow.safetensors'}.")
    if not target.parent.is_dir():
        raise ModelFileError(f"the folder {target.parent} does not exist: make it first, or choose another path.")
    if target.exists() and not overwrite:
        raise ModelFileError("exists already: choose another name, or pass overwrite=True to replace it.")
