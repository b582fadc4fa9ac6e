"""The table that the tests of the command line fit, and the options that make a fit short."""

import numpy as np

TINY = ("--epochs", "1", "--layers", "2", "--width", "8")


def rows(n=400):
    """Three columns: b follows a, c is skewed; far from the origin and of different size, as real tables are."""
    random = np.random.default_rng(0)
    a = random.normal(1e3, 20.0, n)
    return np.stack([a, 0.01 * a + random.normal(0.0, 0.05, n), random.gamma(2.0, 3.0, n)], axis=1)
