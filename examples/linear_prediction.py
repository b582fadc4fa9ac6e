"""Baselines of linear prediction for `speech.py`: bits per sample of AR(32) models.

One filter for all frames gives a density. A filter for each frame of 20 ms gives one only if it is known beforehand,
from the preceding frames. A filter that is fitted to the frame itself encodes 160 numbers with 33 others, whose
description length is added (Rissanen 1978).
"""

import numpy as np
from scipy.stats import t as student_t

from pushforward.bijections import LinearPrediction, Standardise

ORDER, FRAME = 32, 160
PRICE = 0.5 * (ORDER + 1) * np.log2(FRAME) / FRAME  # bits a sample, of the 33 numbers of a frame


def baselines(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Bits per sample on `test`; all arrays are windows (n, T) of integers, T a multiple of 160."""
    random = np.random.default_rng(0)
    train, validation, test = (part + random.uniform(size=part.shape) for part in (train, validation, test))
    free = _filters_of_frames(test - train.mean())
    choices = {
        (past, shrinkage): _from_the_past(validation, train, past, shrinkage)
        for past in (1, 2)
        for shrinkage in (3.0, 10, 30)
    }
    past, shrinkage = min(choices, key=lambda choice: choices[choice])
    return {
        "AR(32), one for all": _one_filter(test, train),
        f"AR(32) a frame, from {past} before": _from_the_past(test, train, past, shrinkage),
        "AR(32) a frame, its own, at its price": free + PRICE,
        "AR(32) a frame, its own, for nothing (no density)": free,
    }


def _one_filter(test: np.ndarray, train: np.ndarray) -> float:
    length = train.shape[1]
    units = Standardise((length,), shared=True).initialised(train)
    rows = (train - np.asarray(units.mean)) / np.asarray(units.scale)
    layer = LinearPrediction(length, ORDER).initialised(rows)
    error = _errors((test - train.mean()) / train.std(), np.asarray(layer.coefficients)) / float(layer.scale)
    loss = np.mean(0.5 * error**2 + 0.5 * np.log(2 * np.pi)) + np.log(float(layer.scale) * train.std())  # nats
    return float(loss / np.log(2))


def _errors(rows: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    return rows - _lagged(rows) @ coefficients


def _lagged(rows: np.ndarray) -> np.ndarray:
    """(n, T, 32), the values before each time step, the last one first; zeros before the first step."""
    padded = np.pad(rows, ((0, 0), (ORDER, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, ORDER, axis=1)[:, :-1, ::-1]


def _frames(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, F, 160, 32) and (n, F, 160)."""
    return _lagged(rows).reshape(len(rows), -1, FRAME, ORDER), rows.reshape(len(rows), -1, FRAME)


def _filters_of_frames(rows: np.ndarray) -> float:
    lagged, values = _frames(rows)
    gram = lagged.swapaxes(-1, -2) @ lagged
    gram = gram + (1e-6 * np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / ORDER + 1e-3) * np.eye(ORDER)
    coefficients = np.linalg.solve(gram, lagged.swapaxes(-1, -2) @ values[..., None])
    variance = np.mean((values[..., None] - lagged @ coefficients) ** 2, (-1, -2))
    return float(np.mean(0.5 * np.log2(2 * np.pi * np.e * variance)))


def _from_the_past(rows: np.ndarray, train: np.ndarray, past: int, shrinkage: float) -> float:
    """Filter and scale of each frame from the frames before, shrunk towards the filter of all; t of 3 degrees.

    A normal distribution costs hundreds of bits per sample at the onset of a word. The first frames of a window have no
    past and are left out, in favour of these filters.
    """
    centre, sample = train.mean(), train[:: max(1, len(train) // 500)]
    lagged, values = _frames(sample - centre)
    size = np.mean(values**2, -1, keepdims=True)[..., None] + 1.0
    covariance = np.mean(lagged.swapaxes(-1, -2) @ (lagged / size), (0, 1))
    general = np.linalg.solve(covariance, np.mean(lagged.swapaxes(-1, -2) @ (values[..., None] / size), (0, 1)))
    lagged, values = _frames(rows - centre)
    bits = []
    for index in range(past, lagged.shape[1]):
        before, there = lagged[:, index - past : index].reshape(len(rows), -1, ORDER), values[:, index - past : index]
        there = there.reshape(len(rows), -1, 1)
        size = np.mean(there**2, 1, keepdims=True) + 1.0
        gram = before.swapaxes(-1, -2) @ before / size + shrinkage * covariance
        filters = np.linalg.solve(gram, before.swapaxes(-1, -2) @ there / size + shrinkage * covariance @ general)
        scale = 1.3 * np.median(np.abs(there - before @ filters), 1) + 0.3
        error = values[:, index] - (lagged[:, index] @ filters)[..., 0]
        bits.append(-student_t.logpdf(error / scale, 3) + np.log(scale))
    return float(np.mean(bits)) / np.log(2)
