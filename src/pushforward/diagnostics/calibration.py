"""Whether data look like draws of the flow: each column, random directions, and the latents against the base.

Distribution functions are compared by Kolmogorov's distance. Where the flow is the truth, the distance of n and m
values exceeds sqrt((1/n + 1/m) / 2 log(e S / a)) in any of S comparisons with probability a at most, whatever the
distribution.
"""

import math

import numpy as np

from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import Columns

DATA, LATENT = "calibration of data", "calibration of latents"
FALSE_ALARM = 1e-6
N_DIRECTIONS = 32
_SIDES = 4
# No fitted flow is the truth, and with rows enough any test says so. What is let pass beyond chance is a share of
# probability in the wrong place that is small for any use; the latents of new rows are further off than the rows are.
_DATA, _LATENTS = 0.03, 0.05
_NO_POWER = 0.5  # a band that lets any disease through


def distances(data: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance (S,) between the columns of data (n, S) and of draws (m, S)."""
    out = np.empty(data.shape[1])
    for column in range(data.shape[1]):
        a, b = np.sort(data[:, column]), np.sort(drawn[:, column])
        places = np.concatenate([a, b])
        gap = np.searchsorted(a, places, "right") / len(a) - np.searchsorted(b, places, "right") / len(b)
        out[column] = np.abs(gap).max()
    return out


def uniform_distances(u: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance (S,) between the columns of u (n, S) and the uniform law."""
    n = len(u)
    ordered, steps = np.sort(u, axis=0), np.arange(n + 1)[:, None] / n
    return np.maximum((steps[1:] - ordered).max(0), (ordered - steps[:-1]).max(0))


def band(n_statistics: int, *sizes: int) -> float:
    """What a distance may be by chance in one of so many comparisons of samples of these sizes.

    Reference: Massart 1990; for two samples Wei & Dudley 2012, who prove it with the constant e where both have one
        size, and for others have it computed up to 200 and conjectured beyond.

    Example:
        >>> from pushforward.diagnostics.calibration import band
        >>> round(band(38, 10_000, 10_000), 3)
        0.043
    """
    return math.sqrt(sum(0.5 / size for size in sizes) * math.log(math.e * n_statistics / FALSE_ALARM))


def directions(dim: int, random: np.random.Generator) -> np.ndarray:
    """Random unit vectors (D, K); none in one dimension."""
    if dim == 1:
        return np.zeros((1, 0))
    vectors = random.normal(size=(dim, N_DIRECTIONS))
    return vectors / np.linalg.norm(vectors, axis=0)


def statistics(x: np.ndarray, centre: np.ndarray, unit: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """What is compared of rows (..., D): the columns and the directions (..., D + K)."""
    standard = (x - centre) / unit
    return np.concatenate([standard, standard @ vectors], -1)


def spread(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and half the distance of the 16 % and 84 % quantiles of each column, which no heavy tail moves."""
    low, centre, high = np.quantile(x, [0.16, 0.5, 0.84], axis=0)
    deviation = x.std(0)
    unit = np.where(high > low, (high - low) / 2, np.where(deviation > 0, deviation, 1.0))
    return centre, unit


def data_row(x: np.ndarray, drawn: np.ndarray, columns: Columns, random: np.random.Generator) -> Row:
    """Rows x (n, D) against as many draws of the flow or more (m, D)."""
    dim = x.shape[1]
    centre, unit = spread(x)
    vectors = directions(dim, random)
    mine, theirs = (statistics(part, centre, unit, vectors) for part in (x, drawn))
    found, bound = distances(mine, theirs), band(mine.shape[1], len(mine), len(theirs))
    return _data_row(found, bound, f"{len(x)} rows and of the flow's samples", "", dim, columns)


def conditional_row(
    x: np.ndarray, drawn: np.ndarray, contexts: np.ndarray, columns: Columns, random: np.random.Generator
) -> Row:
    """Rows x (n, D) against K draws of the flow at each row's own context: (n, K, D), contexts (n, C).

    The rank of a row among its K draws is uniform where the flow is right, whatever the context: among all rows, and
    among those on either side of the median of a context's coordinate, without which a flow that ignored its context
    would pass.
    """
    dim = x.shape[1]
    centre, unit = spread(x)
    vectors = directions(dim, random)
    mine, theirs = (statistics(part, centre, unit, vectors) for part in (x, drawn))
    below, same = (theirs < mine[:, None]).sum(1), (theirs == mine[:, None]).sum(1)
    ranks = (below + random.uniform(size=mine.shape) * (same + 1)) / (theirs.shape[1] + 1)
    sides = contexts if contexts.shape[1] <= _SIDES else contexts @ random.normal(size=(contexts.shape[1], _SIDES))
    groups = [np.ones(len(x), bool)]
    for side in sides.T:
        groups += [side <= np.median(side), side > np.median(side)]
    groups = [group for group in groups if group.any()]
    found = np.stack([uniform_distances(ranks[group]) for group in groups])
    bands = np.array([[band(found.size, int(group.sum()))] for group in groups])
    worst = int((found - bands).max(1).argmax())  # by what the bound below is of
    where = " on one side of a context" if worst else ""
    words = f"{int(groups[worst].sum())} rows{where} and of the flow's samples at their contexts"
    return _data_row(found[worst], float(bands[worst, 0]), words, where, dim, columns)


def _data_row(found: np.ndarray, bound: float, what: str, where: str, dim: int, columns: Columns) -> Row:
    worst, column = int(found.argmax()), int(found[:dim].argmax())
    name = columns[worst] if worst < dim else f"a random direction ({columns[column]}: {found[column]:.3f})"
    return _row(
        DATA, float(found[worst]), bound + _DATA, f"{name}{where}",
        f"Distribution functions of {what} differ most in {name}.",
        f"{columns[column]} of the data is not as the flow says",
        "Train longer or with more layers; if the rows are new ones, they may come from elsewhere than the training "
        "rows.",
    )  # fmt: skip


def latent_row(z: np.ndarray, drawn: np.ndarray) -> Row:
    """Latents z (n, D) of data against draws of the base (m, D): each coordinate, and the distance from the centre."""
    centre, unit = spread(drawn)
    mine, theirs = (
        np.concatenate([part, np.linalg.norm((part - centre) / unit, axis=1, keepdims=True)], 1) for part in (z, drawn)
    )
    found, bound = distances(mine, theirs), band(mine.shape[1], len(mine), len(theirs))
    worst = int(found.argmax())
    name = f"coordinate {worst}" if worst < z.shape[1] else "the distance from the centre"
    words = f"Distribution functions of T^-1(x) at {len(z)} rows and of the base differ most in {name}."
    remedy = (
        "Train longer or with more layers; where the calibration of data passes, dependence between columns is what "
        "is missed."
    )
    if worst == z.shape[1] and np.median(mine[:, worst]) < np.median(theirs[:, worst]):
        words += " The rows lie nearer to it: the flow is too wide, or knows these rows by heart."
        remedy = f"Check rows that it was not trained on. If these are such rows: {remedy[0].lower()}{remedy[1:]}"
    fault = "the data's latents are not as the base says"
    return _row(LATENT, float(found[worst]), bound + _LATENTS, name, words, fault, remedy)


def _row(name: str, value: float, bound: float, worst: str, words: str, fault: str, remedy: str) -> Row:
    if bound > _NO_POWER and value <= bound:
        return Row(name, None, None, None, "Too few rows to tell a wrong distribution from chance.")
    if value <= bound:
        return Row(name, value, bound, True, f"Worst: {worst}.")
    return Row(name, value, bound, False, words, fault, remedy)
