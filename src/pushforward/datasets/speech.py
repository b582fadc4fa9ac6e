"""Speech of one speaker, as integer arrays by recording."""

import os
from dataclasses import dataclass

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.datasets.wave_files import read_wave
from pushforward.errors import DataError

_SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Speech:
    """Recordings as integer arrays (T,) from 0 to levels - 1, `rate` samples a second; no recording is in two parts."""

    train: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray]
    levels: int
    rate: int


def speech(folder: str | os.PathLike[str], *, levels: int = 65_536) -> Speech:
    """The wave files of a folder and its subfolders, of one rate and width; a tenth each for validation and test.

    Files are sorted by path and shuffled with a fixed seed.

    Args:
        folder: of the files. The Debian package `asterisk-core-sounds-en-wav` has 568 recordings of one speaker, 8 kHz,
            16 bits, 25 minutes in all (CC BY-SA 3.0).
        levels: 65,536, or 256 to round samples of 16 bits down to 8.

    Returns:
        A `Speech`, equal at every call.

    Raises:
        DataError: for fewer than ten such files, or if one is damaged or differs from the first in rate or width.
        ValueError: for other levels.

    Reference: the prompts of the Asterisk telephone exchange, spoken by Allison Smith.

    Example:
        >>> from pushforward.datasets import speech
        >>> speech("no such folder")
        Traceback (most recent call last):
        pushforward.errors.DataError: ...
    """
    if levels not in (256, 65_536):
        raise ValueError(f"levels: expected 256 or 65,536, got {levels}.")
    files = sorted(as_path(folder, "folder").rglob("*.wav"))
    if len(files) < 10:
        raise DataError(
            f"{folder}: expected a folder with ten wave files or more, got {len(files)}. Pass another folder, or "
            "install the Debian package asterisk-core-sounds-en-wav."
        )
    sounds = [read_wave(file) for file in files]
    first = sounds[0]
    for file, sound in zip(files, sounds, strict=True):
        if (sound.levels, sound.rate) != (first.levels, first.rate):
            raise DataError(
                f"{file}: has {sound.levels:,} levels at {sound.rate} Hz, {files[0].name} has {first.levels:,} at "
                f"{first.rate}. Convert them to one rate and width."
            )
    if levels > first.levels:
        raise DataError(f"{folder}: its files have {first.levels} levels, got levels={levels:,}. Pass at most these.")
    samples = [sound.samples // (first.levels // levels) for sound in sounds]
    samples = [samples[index] for index in np.random.default_rng(_SPLIT_SEED).permutation(len(samples))]
    tenth = len(samples) // 10
    return Speech(samples[2 * tenth :], samples[tenth : 2 * tenth], samples[:tenth], levels, first.rate)
