"""Test points: ordinary ones, and hostile ones at which formulas fail."""

import numpy as np
from zoo import CIRCLE, LINE, OPEN, POSITIVE, SIMPLEX, UNIT, Row

N = 64


def ordinary(side: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Points (N, *shape) in the bulk of a distribution."""
    noise = 1.5 * random.normal(size=(N, *shape))
    return {
        LINE: noise,
        POSITIVE: np.exp(noise),
        UNIT: 1 / (1 + np.exp(-noise)),
        OPEN: np.tanh(noise),
        CIRCLE: np.pi * np.tanh(noise),
        SIMPLEX: np.exp(noise) / (1 + np.exp(noise).sum(1, keepdims=True)) if shape else noise,
    }[side]


def hostile(side: str, shape: tuple[int, ...], row: Row) -> np.ndarray:
    """Points (N, *shape) at which formulas fail: zero, knots, one ulp next to them, far away."""
    near = [
        *row.knots,
        *(np.nextafter(np.float32(p), np.float32(d)) for p in row.knots for d in (-np.inf, np.inf)),
    ]
    far = [v for v in (1e-30, 1.0, 10.0, 1e3, row.largest) if v <= row.largest]
    values = {
        LINE: [0.0, *near, *(-v for v in near), *far, *(-v for v in far)],
        POSITIVE: [1e-30, 1e-6, 1.0, 1e3, 1e30],
        UNIT: [1e-30, 1e-6, 0.5, 1 - 1e-6],
        OPEN: [-1 + 1e-6, -0.5, 0.0, 1e-30, 1 - 1e-6],
        CIRCLE: [0.0, *near, *(-v for v in near), 1.0],
        SIMPLEX: [1e-30, 1e-6, 0.2, (1 - 1e-6) / max(len(np.zeros(shape).reshape(-1)), 1)],
    }[side]
    values = np.asarray(values, np.float64)
    if side == CIRCLE:  # pi in float32 is a little larger than in float64
        values = np.clip(values, -np.pi, np.nextafter(np.pi, 0))
    size = int(np.prod(shape))
    # first the same value in every coordinate, then values mixed
    rows = [np.full(size, v) for v in values] + [
        np.roll(values, 5 * i)[np.arange(size) % values.size] for i in range(N)
    ]
    return np.stack(rows[:N]).reshape(N, *shape)
