"""Calibration: whether columns, random directions and latents have the distribution of the flow's samples and base.

Distribution functions are compared by Kolmogorov's distance. If the flow is true, the distance of n and m values
exceeds sqrt((1/n + 1/m) / 2 log(e S / a)) in any of S comparisons with probability a at most, whatever the
distribution.
"""

import math

import numpy as np

from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.row import Row, bounded_row

DATA, LATENT = "calibration of data", "calibration of latents"
FALSE_ALARM = 1e-6
N_DIRECTIONS = 32
_MAX_CONTEXT_DIM = 4
# No fitted flow is exact, and a test with enough rows rejects any. Beyond chance, a distance is accepted that is small
# for any use; latents of new rows are further off than the rows are.
_DATA_TOLERANCE, _LATENT_TOLERANCE = 0.03, 0.05
_NO_POWER = 0.5  # a band that lets any fault pass


def distances(data: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance (S,) between the columns of data (n, S) and of draws (m, S)."""
    out = np.empty(data.shape[1])
    for column in range(data.shape[1]):
        a, b = np.sort(data[:, column]), np.sort(samples[:, column])
        points = np.concatenate([a, b])
        gap = np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)
        out[column] = np.abs(gap).max()
    return out


def uniform_distances(u: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance (S,) between the columns of u (n, S) and the uniform distribution."""
    n = len(u)
    ordered, steps = np.sort(u, axis=0), np.arange(n + 1)[:, None] / n
    return np.maximum((steps[1:] - ordered).max(0), (ordered - steps[:-1]).max(0))


def ranks(x: np.ndarray, samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Ranks (n, ...) from 0 to 1 of values x (n, ...) among samples (k, n, ...), k for each; ties in random order.

    Exactly uniform if a value and its samples are independent and have one distribution.
    """
    below, equal = (samples < x).sum(0), (samples == x).sum(0)
    return (below + random.uniform(size=x.shape) * (equal + 1)) / (len(samples) + 1)


def band(n_statistics: int, *sizes: int) -> float:
    """The bound on a distance by chance, in any of `n_statistics` comparisons of samples of these sizes.

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
    """The values (..., D + K) to compare for x (..., D): columns and projections on directions."""
    standard = (x - centre) / unit
    return np.concatenate([standard, standard @ vectors], -1)


def spread(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and half the distance of the 16 % and 84 % quantiles of each column, robust to heavy tails."""
    low, centre, high = np.quantile(x, [0.16, 0.5, 0.84], axis=0)
    deviation = x.std(0)
    unit = np.where(high > low, (high - low) / 2, np.where(deviation > 0, deviation, 1.0))
    return centre, unit


def data_row(x: np.ndarray, samples: np.ndarray, columns: Columns, random: np.random.Generator) -> Row:
    """Rows x (n, D) against samples of the flow (m, D), m >= n."""
    dim, pair = x.shape[1], (x, samples)
    centre, unit = spread(x)
    vectors = directions(dim, random)
    x, samples = (statistics(part, centre, unit, vectors) for part in (x, samples))
    gaps, bound = distances(x, samples), band(x.shape[1], len(x), len(samples))
    return _data_row(gaps, bound, f"{len(x)} rows and of the flow's samples", "", dim, columns, pair)


def conditional_row(
    x: np.ndarray, samples: np.ndarray, contexts: np.ndarray, columns: Columns, random: np.random.Generator
) -> Row:
    """Rows x (n, D) against K samples of the flow at the context of each row (n, K, D), contexts (n, C).

    If the flow is true, the rank of a row among its K samples is uniform, whatever the context. It is tested for all
    rows, and for those on either side of the median of each coordinate of the context; the latter detects a flow that
    ignores its context.
    """
    dim = x.shape[1]
    centre, unit = spread(x)
    vectors = directions(dim, random)
    x, samples = (statistics(part, centre, unit, vectors) for part in (x, samples))
    u = ranks(x, np.moveaxis(samples, 1, 0), random)
    if contexts.shape[1] > _MAX_CONTEXT_DIM:
        contexts = contexts @ random.normal(size=(contexts.shape[1], _MAX_CONTEXT_DIM))
    groups = [np.ones(len(x), bool)]
    for coordinate in contexts.T:
        groups += [coordinate <= np.median(coordinate), coordinate > np.median(coordinate)]
    groups = [group for group in groups if group.any()]
    gaps = np.stack([uniform_distances(u[group]) for group in groups])
    bands = np.array([[band(gaps.size, int(group.sum()))] for group in groups])
    worst = int((gaps - bands).max(1).argmax())
    where = " on one side of a context" if worst else ""
    what = f"{int(groups[worst].sum())} rows{where} and of the flow's samples at their contexts"
    return _data_row(gaps[worst], float(bands[worst, 0]), what, where, dim, columns)


def _shares(x: np.ndarray, samples: np.ndarray) -> str:
    """The value of a column at which its distribution functions differ most, and the shares up to it."""
    points = np.sort(np.concatenate([x, samples]))
    shares = [np.searchsorted(np.sort(part), points, "right") / len(part) for part in (x, samples)]
    at = int(np.abs(shares[0] - shares[1]).argmax())
    return f"{shares[0][at]:.0%} of the rows are at most {points[at]:.3g}, but {shares[1][at]:.0%} of the samples"


def _data_row(
    gaps: np.ndarray, bound: float, what: str, where: str, dim: int, columns: Columns,
    pair: tuple[np.ndarray, np.ndarray] | None = None,
) -> Row:  # fmt: skip
    """`pair`: rows (n, D) and samples (m, D) whose shares are compared in words, where contexts play no part."""
    worst, column = int(gaps.argmax()), int(gaps[:dim].argmax())
    name = columns[worst] if worst < dim else f"a random direction ({columns[column]}: {gaps[column]:.3f})"
    finding, given = f"In {columns[column]} ", " given the context columns" if pair is None else ""
    if gaps[column] <= bound + _DATA_TOLERANCE:
        finding = (
            f"Sums of several columns are distributed otherwise in the samples{given} than in the rows: the model "
        )
        finding += "misses how columns go together."
    elif pair is not None:
        finding += f"{_shares(*(part[:, column] for part in pair))}."
    else:
        finding += f"the shares of rows and of samples{given} below a value differ by up to {gaps[column]:.0%}."
    return _row(
        DATA, float(gaps[worst]), bound + _DATA_TOLERANCE, f"{name}{where}",
        f"Distribution functions of {what} differ most in {name}.",
        f"{columns[column]} of the data is not distributed as in the flow",
        "Train longer or with more layers; if the rows are new ones, they may come from elsewhere than the training "
        "rows.",
        finding,
    )  # fmt: skip


def latent_row(z: np.ndarray, samples: np.ndarray, x: np.ndarray, columns: Columns) -> Row:
    """Latents z (n, D) of rows x (n, D) against samples of the base (m, D): each coordinate, and the distance from the
    centre."""
    centre, unit = spread(samples)
    latents, base = (
        np.concatenate([part, np.linalg.norm((part - centre) / unit, axis=1, keepdims=True)], 1)
        for part in (z, samples)
    )
    gaps, bound = distances(latents, base), band(latents.shape[1], len(latents), len(base))
    worst = int(gaps.argmax())
    name, finding = "the distance from the centre", "The rows lie further from the middle than the model believes."
    if worst < z.shape[1]:
        name = f"coordinate {worst}"
        finding = f"The model misses how columns go together, most in {columns.most_related(z[:, worst], x)[0]}."
    message = f"Distribution functions of T^-1(x) at {len(z)} rows and of the base differ most in {name}."
    fix = (
        "Train longer or with more layers; where the calibration of data passes, the flow misses dependence between "
        "columns."
    )
    if worst == z.shape[1] and np.median(latents[:, worst]) < np.median(base[:, worst]):
        finding = "The rows lie nearer to the middle than the model believes: it is too wide."
        message += " The rows lie nearer to it: the flow is too wide, or over-fitted to these rows."
        fix = f"Check rows that it was not trained on. If these are such rows: {fix[0].lower()}{fix[1:]}"
    fault = "the data's latents are not distributed as the base"
    return _row(LATENT, float(gaps[worst]), bound + _LATENT_TOLERANCE, name, message, fault, fix, finding)


def _row(name: str, value: float, bound: float, worst: str, message: str, fault: str, fix: str, finding: str) -> Row:
    if bound > _NO_POWER and value <= bound:
        return Row(name, None, None, None, "Too few rows to distinguish a wrong distribution from chance.")
    return bounded_row(name, value, bound, f"Worst: {worst}.", message, fault, fix, finding=finding)
