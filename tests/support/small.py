"""A small table and options of short fits, for tests of the command line."""

import numpy as np

TINY = ("--epochs", "1", "--layers", "2", "--width", "8")
AFFINE = ("--flow", "real_nvp", *TINY)  # compiles in half the time of the default, a spline flow


def rows(n=400):
    """Three columns far from the origin and of different scale: b depends on a, c is skewed."""
    random = np.random.default_rng(0)
    a = random.normal(1e3, 20.0, n)
    return np.stack([a, 0.01 * a + random.normal(0.0, 0.05, n), random.gamma(2.0, 3.0, n)], axis=1)
