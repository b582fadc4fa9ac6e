"""Wave files, folders of wave files, and the baselines of the speech example on tones."""

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from pushforward.datasets import Sound, read_wave, speech, write_wave
from pushforward.errors import DataError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import linear_prediction
import spectra


def tone(length, levels=65_536, seed=0):
    random = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * random.uniform(0.01, 0.1) * np.arange(length)) + 0.05 * random.normal(size=length)
    return np.clip(np.round(levels / 2 * (1 + 0.3 * wave)), 0, levels - 1).astype(int)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "digits").mkdir()
    for index in range(12):
        write_wave(
            tmp_path / ("digits" if index % 2 else ".") / f"{index}.wav", Sound(tone(900, seed=index), 65_536, 8000)
        )
    return tmp_path


@pytest.mark.parametrize("levels", [256, 65_536])
def test_write_then_read_returns_the_samples(tmp_path, levels):
    samples = np.array([0, 1, levels // 2 - 1, levels // 2, levels - 1])
    write_wave(tmp_path / "a.wav", Sound(samples, levels, 11_025))
    back = read_wave(tmp_path / "a.wav")
    np.testing.assert_array_equal(back.samples, samples)
    assert (back.levels, back.rate) == (levels, 11_025)


def test_silence_is_the_middle_level(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        file.writeframes(np.array([0, -32_768, 32_767], "<i2").tobytes())
    np.testing.assert_array_equal(read_wave(tmp_path / "a.wav").samples, [32_768, 0, 65_535])


def broken(path, change):
    write_wave(path, Sound(tone(100), 65_536, 8000))
    path.write_bytes(change(path.read_bytes()))


BROKEN = {
    "nothing": (lambda content: b"", "uncompressed wave file"),
    "another kind of file": (lambda content: b"OggS" + content, "uncompressed wave file"),
    "cut short": (lambda content: content[:-50], "truncated: it has 75 of 100"),
    "two channels": (lambda content: content[:22] + b"\2" + content[23:], "one channel, got 2"),
    "24 bits": (lambda content: content[:34] + b"\x18" + content[35:], "got 24"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_raises_a_clear_error(name, tmp_path):
    change, message = BROKEN[name]
    broken(tmp_path / "a.wav", change)
    with pytest.raises(DataError, match=message):
        read_wave(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("samples", "levels", "message"),
    [([0, 256], 256, "0 to 255"), ([0.5], 256, "whole numbers"), ([[1]], 256, r"shape \(1, 1\)"), ([1], 1024, "1024")],
)
def test_invalid_samples_are_not_written(samples, levels, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write_wave(tmp_path / "a.wav", Sound(np.array(samples), levels, 8000))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_split_by_recording(folder):
    data = speech(folder)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [10, 1, 1]
    assert (data.levels, data.rate) == (65_536, 8000)
    distinct = {part.tobytes() for part in (*data.train, *data.validation, *data.test)}
    assert len(distinct) == 12
    coarse = speech(folder, levels=256)
    np.testing.assert_array_equal(coarse.test[0], data.test[0] // 256)


def test_a_folder_of_different_or_too_few_files_is_refused(folder):
    with pytest.raises(ValueError, match=r"256 or 65,536, got 100"):
        speech(folder, levels=100)
    with pytest.raises(DataError, match=r"ten wave files or more, got 6"):
        speech(folder / "digits")
    write_wave(folder / "z.wav", Sound(tone(100, 256), 256, 8000))
    with pytest.raises(DataError, match=r"z\.wav: has 256 levels"):
        speech(folder)
    for path in folder.rglob("*.wav"):
        write_wave(path, Sound(tone(100, 256), 256, 8000))
    with pytest.raises(DataError, match="have 256 levels"):
        speech(folder)


def test_bits_of_linear_prediction_of_white_noise():
    """White noise of deviation 100 costs log2(100 sqrt(2 pi e)) bits; filters fitted to each recording claim less."""
    rows = np.round(np.random.default_rng(0).normal(32_768, 100, (40, 4 * linear_prediction.FRAME)))
    bits = list(linear_prediction.baselines(rows[:20], rows[20:30], rows[30:]).values())
    entropy = np.log2(100 * np.sqrt(2 * np.pi * np.e))
    one, past, priced, free = bits
    assert abs(one - entropy) < 0.03
    assert entropy < past < entropy + 0.4
    assert free < entropy - 0.1
    assert entropy < priced < entropy + 0.8


def test_the_spectrum_of_a_tone_peaks_in_its_band():
    rows = np.stack([np.round(32_768 + 8000 * np.sin(2 * np.pi * f / 8000 * np.arange(320))) for f in (500, 3000)])
    energies = np.asarray(spectra.spectra(rows, 65_536))
    assert energies.shape == (2, 2, spectra.BANDS)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), spectra.BANDS + 1) / 2595) - 1)
    for row, frequency in zip(energies, (500, 3000), strict=True):
        assert (np.argmax(row, -1) == np.searchsorted(edges, frequency) - 1).all()
