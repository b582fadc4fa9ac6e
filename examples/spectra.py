"""Helpers of `speech.py`: windows, differentiable spectra, and pictures."""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from linear_prediction import FRAME

BANDS = 20


def windows(recordings: list[np.ndarray], length: int) -> np.ndarray:
    """Consecutive windows (n, length); the remainder of each recording is dropped."""
    return np.concatenate([x[: len(x) // length * length].reshape(-1, length) for x in recordings])


def spectra(x: jax.Array, levels: int) -> jax.Array:
    """(n, T) of levels to (n, T / 160, 20), logarithms of the mean power in each band of each frame.

    Values beyond the levels are clipped, as in a wave file.
    """
    waves, shares = (jnp.asarray(part, jnp.float32) for part in _bands())
    parts = (jnp.clip(jnp.asarray(x, jnp.float32), 0, levels) - levels / 2).reshape(len(x), -1, FRAME) @ waves
    power = parts[..., : len(shares)] ** 2 + parts[..., len(shares) :] ** 2
    return jnp.log(power @ shares + 1.0)


@functools.cache
def _bands() -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of a frame under a Hann window (160, 162), and the bands' shares of their powers (81, 20).

    A matrix product, because the Fourier transform is slow on a CPU inside a training loop. The bands are equally wide
    on the mel scale, 700 (10^(m / 2595) - 1) Hz; a harmonic is 50 Hz.
    """
    phase, harmonics = 2 * np.pi * np.arange(FRAME) / FRAME, np.arange(FRAME // 2 + 1)
    hann = np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME) ** 2
    waves = np.concatenate([np.cos(np.outer(phase, harmonics)), np.sin(np.outer(phase, harmonics))], 1)
    mel = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), BANDS + 1)
    edges = np.round(700 * (10 ** (mel / 2595) - 1) / 50)
    edges[-1] += 1
    shares = [(harmonics >= low) & (harmonics < high) for low, high in itertools.pairwise(edges)]
    return hann[:, None] * waves / np.sqrt((hann**2).sum()), np.stack([part / part.sum() for part in shares], 1)


def draw_history(path: Path, divergences: list[float]) -> None:
    """KL(student | teacher) per sample against the share of the steps."""
    figure, axes = plt.subplots(figsize=(5.2, 3.0), layout="constrained")
    axes.plot(np.arange(1, len(divergences) + 1) / len(divergences), divergences, color="#d55e00")
    axes.set(xlabel="share of the steps", ylabel="KL(student | teacher), nats per sample", ylim=(0, None))
    axes.grid(color="#d8dee4")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_spectrograms(path: Path, sounds: dict[str, np.ndarray], rate: int, levels: int) -> None:
    """One column for each phrase, one row for each flow, all on one scale of decibels."""
    columns = min(len(rows) for rows in sounds.values())
    figure, panels = plt.subplots(
        len(sounds), columns, figsize=(4.2 * columns, 2.2 * len(sounds)), layout="constrained", squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip
    for row, (name, recordings) in zip(panels, sounds.items(), strict=True):
        row[0].set_ylabel(f"{name}\nfrequency (Hz)")
        for axes, recording in zip(row, recordings, strict=False):
            centred = recording / levels - 0.5
            axes.specgram(centred + 1e-9, NFFT=256, noverlap=192, Fs=rate, vmin=-130, vmax=-40, cmap="magma")
    for axes in panels[-1]:
        axes.set_xlabel("time (s)")
    figure.savefig(path, dpi=80)
    plt.close(figure)
