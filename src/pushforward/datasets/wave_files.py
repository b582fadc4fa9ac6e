"""Reading and writing of sound: uncompressed wave files of one channel, 8 or 16 bits, as integer arrays."""

import os
import wave
from dataclasses import dataclass
from typing import IO

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.errors import DataError
from pushforward.persistence.atomic_write import write_atomically

_LEVELS = {1: 256, 2: 65_536}


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording: integers (T,) from 0 to levels - 1, silence at the middle level; `rate` samples a second."""

    samples: np.ndarray
    levels: int
    rate: int


def read_wave(path: str | os.PathLike[str]) -> Sound:
    """Read a wave file of one channel, in 8 or 16 bits.

    Args:
        path: of a file in uncompressed PCM.

    Returns:
        A `Sound` with 256 or 65,536 levels, the numbers in the file; those of 16 bits are shifted by 32,768.

    Raises:
        DataError: if the file is missing, damaged, compressed, of several channels or of another width.

    Example:
        >>> from pushforward.datasets import read_wave
        >>> read_wave("no such file.wav")
        Traceback (most recent call last):
        pushforward.errors.DataError: ...
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            params = file.getparams()
            if params.nchannels != 1:
                raise DataError(f"{path}: expected one channel, got {params.nchannels}. Mix or split them first.")
            if params.sampwidth not in _LEVELS:
                raise DataError(f"{path}: expected 8 or 16 bits a sample, got {8 * params.sampwidth}. Convert it.")
            content = file.readframes(params.nframes)
    except (OSError, EOFError, wave.Error) as fault:
        raise DataError(
            f"{path}: cannot be read as an uncompressed wave file ({fault or 'too short'}). Write it as PCM of 8 or 16 "
            "bits."
        ) from fault
    if len(content) != params.nframes * params.sampwidth:
        n_samples = len(content) // params.sampwidth
        raise DataError(f"{path}: is truncated: it has {n_samples} of {params.nframes} samples. Fetch it again.")
    levels = _LEVELS[params.sampwidth]
    if levels == 256:
        samples = np.frombuffer(content, np.uint8).astype(np.int32)
    else:
        samples = np.frombuffer(content, "<i2").astype(np.int32) + levels // 2
    return Sound(samples, levels, params.framerate)


def write_wave(path: str | os.PathLike[str], sound: Sound) -> None:
    """Write a sound as an uncompressed wave file, completely or not at all.

    Args:
        path: of the file; an existing file is replaced.
        sound: of 256 or 65,536 levels.

    Raises:
        DataError: if the samples are not integers of that range, or the levels are neither 256 nor 65,536.

    Example:
        >>> import numpy as np, tempfile
        >>> from pushforward.datasets import Sound, read_wave, write_wave
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_wave(f"{folder}/a.wav", Sound(np.array([0, 128, 255]), 256, 8000))
        ...     print(read_wave(f"{folder}/a.wav").samples)
        [  0 128 255]
    """
    samples, width = np.asarray(sound.samples), {levels: width for width, levels in _LEVELS.items()}.get(sound.levels)
    if width is None:
        raise DataError(f"sound: expected 256 or 65,536 levels, got {sound.levels}: wave files have no others.")
    if samples.ndim != 1 or not np.array_equal(samples, np.clip(np.round(samples), 0, sound.levels - 1)):
        raise DataError(
            f"sound: expected whole numbers (T,) from 0 to {sound.levels - 1}, got shape {samples.shape} from "
            f"{samples.min(initial=0)} to {samples.max(initial=0)}. Round and clip them first."
        )
    stored = samples.astype(np.uint8) if width == 1 else (samples - sound.levels // 2).astype("<i2")

    def write(target: IO[bytes]) -> None:
        with wave.open(target, "wb") as file:
            file.setparams((1, width, sound.rate, 0, "NONE", "not compressed"))
            file.writeframes(stored.tobytes())

    write_atomically(as_path(path), write, lambda: None)
