"""Outputs of the commands: checks before the long work, JSON files, and the versions that results depend on."""

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from pushforward.cli.printer import strict_json
from pushforward.errors import TableError
from pushforward.persistence.atomic_write import write_atomically

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".npy", ".npz")


def check_outputs(overwrite: bool, *outputs: Path | None, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse outputs that exist, whose folder does not exist, that are equal to each other, or that are an input.

    Args:
        overwrite: whether an existing file may be replaced.
        outputs: files to be written; None for an output that is not asked for.
        inputs: files to be read.
    """
    reserved = [_resolved(path) for path in inputs]
    for path in outputs:
        if path is None:
            continue
        folder = _resolved(path).parent
        if _resolved(path) in reserved:
            raise TableError(f"{path}: this file is used twice in the same command: choose another name.")
        if path.is_dir():
            raise TableError(f"{path}: this is a folder: name a file in it.")
        if path.exists() and not overwrite:
            raise TableError(f"{path}: the file exists: choose another name, or replace it with --overwrite.")
        if not folder.is_dir():
            raise TableError(f"{path}: the folder {path.parent} does not exist: make it first.")
        if not os.access(folder, os.W_OK):
            raise TableError(f"{path}: the folder {path.parent} cannot be written to: choose another path.")
        reserved.append(_resolved(path))


def _resolved(path: Path) -> Path:
    """The path with all links resolved; `Path.resolve` fails on circular links."""
    return Path(os.path.realpath(path))


def check_samples_output(path: Path) -> None:
    """Refuse a path that can be neither a table nor a new folder; the model decides later which of the two it is."""
    if path.suffix:
        check_table_output(path)
    elif path.exists():
        raise TableError(f"{path}: exists already: name a new folder for pictures, or a file with a suffix for rows.")


def check_table_output(path: Path) -> None:
    """Refuse a table whose suffix is not a format that can be written."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        known = ", ".join(TABLE_SUFFIXES)
        raise TableError(f"{path}: the suffix {path.suffix!r} names no known format: use one of {known}.")


def write_json(path: Path, values: dict[str, Any], overwrite: bool) -> None:
    """Write strict JSON atomically."""
    content = (json.dumps(strict_json(values), allow_nan=False, indent=1) + "\n").encode()
    with writing(path):
        write_atomically(path.resolve(), lambda file: file.write(content), lambda: check_outputs(overwrite, path))


@contextlib.contextmanager
def writing(path: Path) -> Generator[None]:
    """Context that turns an OSError into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror or error}): choose another path.") from error


def versions() -> dict[str, str]:
    """Versions of the libraries that a model's numbers depend on."""
    import equinox
    import jax

    from pushforward._version import __version__

    return {"pushforward": __version__, "jax": jax.__version__, "equinox": equinox.__version__}
