"""Saving a flow to one file, and loading it."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import equinox as eqx

from pushforward._version import __version__
from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import ModelFileError
from pushforward.numerics.programs import flatten, float_type
from pushforward.persistence import stored_scores
from pushforward.persistence.atomic_write import write_atomically
from pushforward.persistence.checks import check_flow
from pushforward.persistence.container import FORMAT, FORMAT_VERSION, nesting, pack, read, strict_json
from pushforward.persistence.tree import Registry, announced, classes_of, decode, encode, registry

MAX_NOTES_NESTING = 100


def save(
    path: str | os.PathLike[str],
    flow: AbstractDistribution,
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = True,
) -> None:
    """Write a flow with its weights, structure and standardisation to one safetensors file.

    The file is written beside its place and renamed at the end: if writing is interrupted, an older file stays.

    Args:
        path: of the file, usually `*.safetensors`.
        flow: any distribution made of modules whose fields hold arrays, numbers, text, tuples and modules.
        notes: plain JSON to keep with it, such as names of columns; `read_notes` returns it.
        overwrite: whether a file that is there already is replaced.

    Cost: the size of the weights, one shape check of the flow, and the sampling and scoring of the four points whose
    scores are stored for comparison.

    Raises:
        ModelFileError: if the flow holds NaN, infinities or functions, or the file cannot be written.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=2, key=0), notes={"columns": ["a", "b"]})
        >>> pf.load(path).shape
        (2,)
    """
    target = Path(path)
    if not isinstance(flow, AbstractDistribution):
        raise TypeError(f"flow: expected a Flow or another distribution, got a {type(flow).__name__}.")
    try:
        _check_target(target, overwrite)
        content = _content(flow, {} if notes is None else notes)
        final = target.resolve()  # a symbolic link stays one
        write_atomically(final, lambda file: file.write(content), lambda: _check_target(final, overwrite))
    except OSError as error:
        reason = error.strerror or error
        raise ModelFileError(f"{target}: cannot be written ({reason}): choose another place.") from error
    except ModelFileError as error:
        raise ModelFileError(f"{target}: {error}") from error


def load(
    path: str | os.PathLike[str], *, extra: Iterable[type[eqx.Module]] = (), verify: bool = True
) -> AbstractDistribution:
    """Read a flow that `save` has written: the same structure, the same numbers, bit for bit.

    No code is run and nothing is imported by a name from the file. Sizes are compared with the file before memory is
    taken, the content with its hash, every module's own checks are run again, and points that were stored with their
    scores are scored again: a version that computed something else from the same numbers is found out here.

    Args:
        path: of the file.
        extra: classes of your own that the flow contains; the file only names them.
        verify: whether the stored points are scored, which compiles the density as its first call would.

    Returns:
        The flow. Its arrays are JAX's or NumPy's as they were when saved.

    Cost: the size of the weights, one shape check of the flow, and the density of eight points.

    Raises:
        ModelFileError: if the file is missing, damaged, of another kind or version, names an unknown class, or scores
            its stored points otherwise than before.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> path = pathlib.Path(tempfile.mkdtemp(), "flow.safetensors")
        >>> pf.save(path, pf.nice(dim=3, key=0))
        >>> pf.load(path).shape
        (3,)
    """
    return load_with_notes(path, extra=extra, verify=verify)[0]


def load_with_notes(
    path: str | os.PathLike[str], *, extra: Iterable[type[eqx.Module]] = (), verify: bool = True
) -> tuple[AbstractDistribution, dict[str, Any]]:
    """What `load` and `read_notes` return, both from one opening of the file: nobody can replace it in between.

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
    target, known = Path(path), registry(extra)
    try:
        header, tensors = read(
            target, lambda header: {**announced(header["flow"], known), **stored_scores.announced(header["probe"])}
        )
        flow = _rebuilt(header, tensors, known)
        if verify:
            stored_scores.compare(flow, {name: tensors[name] for name in header["probe"]}, header["dtype"])
        return flow, header["notes"]
    except ModelFileError as error:
        raise ModelFileError(f"{target}: {error}") from error


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The notes that were saved with a flow, without building the flow; the file's hash is compared.

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
    target = Path(path)
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
    # Rebuilt and checked once: what could not be loaded must not be saved.
    known = registry(classes_of(flow))
    announced(config, known)
    _rebuilt(header, tensors, known)
    points = stored_scores.probe(flow)
    return pack({**header, "probe": stored_scores.describe(points)}, {**tensors, **points})


def _plain_notes(notes: Any) -> dict[str, Any]:
    """The notes, refused unless JSON returns them as they are."""
    try:
        if nesting(notes) > MAX_NOTES_NESTING:
            raise ValueError(f"nested more than {MAX_NOTES_NESTING} levels deep")
        same = strict_json(json.dumps(notes, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"notes: expected plain JSON ({error}): use text, finite numbers, lists and dicts with text as keys."
        ) from error
    if not isinstance(same, dict) or same != notes:
        raise ModelFileError(
            "notes: expected a dict of plain JSON that reads back as it was: use lists in place of tuples and text as "
            "keys."
        )
    return same


def _rebuilt(header: dict[str, Any], tensors: dict[str, Any], known: Registry) -> AbstractDistribution:
    flow = decode(header["flow"], known, tensors)
    check_flow(flow)
    if header["dtype"] != (dtype := str(float_type(flatten(flow)[0]))):
        raise ModelFileError(f"says its numbers are {header['dtype']}, but they are {dtype}: save the flow again.")
    return flow


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise ModelFileError(f"is a folder, expected the name of a file: write {target / 'flow.safetensors'}.")
    if not target.parent.is_dir():
        raise ModelFileError(f"the folder {target.parent} does not exist: make it first, or choose another place.")
    if target.exists() and not overwrite:
        raise ModelFileError("exists already: choose another name, or pass overwrite=True to replace it.")
