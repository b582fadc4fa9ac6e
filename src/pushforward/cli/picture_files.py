"""Writes sampled images: a new folder of PNG files, or one array; atomically."""

from pathlib import Path
from typing import IO

import numpy as np

from pushforward.cli.outputs import check_outputs
from pushforward.errors import MissingExtra, TableError
from pushforward.persistence.atomic_write import partial_file, write_atomically

_ARRAYS = (".npy", ".npz")
_PNG_LEVELS = 256


def check_picture_output(path: Path, shape: tuple[int, ...], levels: int) -> None:
    """Refuse a table file, and PNG if it cannot store the model's levels, before the samples are drawn."""
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
    except ImportError as error:
        raise MissingExtra("pillow", "images", "writing PNG files") from error


def write_pictures(path: Path, pictures: np.ndarray, levels: int, *, overwrite: bool = False) -> None:
    """Write images (n, H, W, C) of integers: `00000.png`, `00001.png`, ... in a new folder, or one array.

    Args:
        path: a folder if it has no suffix; `.npy` stores the array, `.npz` stores it as `values`.
        pictures: real array of integers from 0 to levels - 1; written in the narrowest unsigned type.
        levels: number of levels of the model.
        overwrite: replace an existing array; a folder is never replaced.

    Raises:
        TableError: the path exists, or cannot be written.
    """
    levels_of_pixels = np.round(pictures).astype(np.min_scalar_type(levels - 1))

    def write_array(file: IO[bytes]) -> None:
        if path.suffix.lower() == ".npz":
            np.savez(file, values=levels_of_pixels)
        else:
            np.save(file, levels_of_pixels, allow_pickle=False)

    try:
        if path.suffix:
            write_atomically(path.resolve(), write_array, lambda: check_outputs(overwrite, path))
        else:
            _write_folder(path.resolve(), levels_of_pixels)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror or error}): choose another path.") from error


def _write_folder(path: Path, levels_of_pixels: np.ndarray) -> None:
    """Write the files to a temporary folder beside `path`, then rename it, so that the folder appears complete."""
    from PIL import Image

    digits = max(5, len(str(len(levels_of_pixels) - 1)))
    with partial_file(path, is_folder=True) as partial:
        for index, picture in enumerate(levels_of_pixels):
            Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(
                partial / f"{index:0{digits}}.png"
            )
        partial.rename(path)
