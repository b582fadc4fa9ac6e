"""Sampled pictures as files: a new folder of PNG, or one array; written whole or not at all."""

from pathlib import Path
from typing import IO

import numpy as np

from pushforward.cli.outputs import check_outputs
from pushforward.errors import MissingExtra, TableError
from pushforward.persistence.atomic_write import partial_file, write_atomically

_ARRAYS = (".npy", ".npz")
_PNG_LEVELS = 256


def check_picture_output(path: Path, shape: tuple[int, ...], levels: int) -> None:
    """Refuse a file of a table, and PNG where it cannot hold the model's numbers, before the samples are drawn."""
    if path.suffix.lower() in _ARRAYS:
        return
    arrays = f"-o {path.stem}.npy or {path.stem}.npz"
    if path.suffix:
        raise TableError(f"{path}: the model is one of pictures: write a new folder, -o {path.stem}/, or {arrays}.")
    if levels != _PNG_LEVELS or shape[2] not in (1, 3):
        raise TableError(
            f"{path}: PNG files hold 256 levels of grey or of three colours, the model has {levels} levels of "
            f"{shape[2]}: write {arrays}."
        )
    try:
        import PIL.Image  # noqa: F401
    except ImportError as fault:
        raise MissingExtra("pillow", "images", "writing PNG files") from fault


def write_pictures(path: Path, pictures: np.ndarray, levels: int, *, overwrite: bool = False) -> None:
    """Write whole numbers (n, H, W, C): `00000.png`, `00001.png`, ... in a new folder, or one array.

    Args:
        path: without a suffix a folder; `.npy` holds the array, `.npz` holds it as `values`.
        pictures: real array of whole numbers from 0 to levels - 1; written in the narrowest unsigned type.
        levels: of the model.
        overwrite: replace an array that is there; a folder is never replaced.

    Raises:
        TableError: a path that is taken, or a disk that refuses.
    """
    whole = np.round(pictures).astype(np.min_scalar_type(levels - 1))

    def array(file: IO[bytes]) -> None:
        if path.suffix.lower() == ".npz":
            np.savez(file, values=whole)
        else:
            np.save(file, whole, allow_pickle=False)

    try:
        if path.suffix:
            write_atomically(path.resolve(), array, lambda: check_outputs(overwrite, path))
        else:
            _write_folder(path.resolve(), whole)
    except OSError as fault:
        raise TableError(f"{path}: cannot be written ({fault.strerror or fault}): choose another place.") from fault


def _write_folder(path: Path, whole: np.ndarray) -> None:
    """Filled under another name beside its place, then renamed: nobody meets half of it."""
    from PIL import Image

    digits = max(5, len(str(len(whole) - 1)))
    with partial_file(path, is_folder=True) as part:
        for index, picture in enumerate(whole):
            Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(part / f"{index:0{digits}}.png")
        part.rename(path)
