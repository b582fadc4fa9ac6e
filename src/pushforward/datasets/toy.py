"""Eight 2-D shapes, each with a sampler and its exact log-density (by quadrature for curves with noise).

Notation: n, n' standard normal, u uniform on [0, 1), k a uniformly drawn index; R(a) rotates by the angle a.

- `moons`: c + 0.1 (n, n'), where c is (cos t, sin t) or (1 - cos t, 1/2 - sin t), t uniform on [0, pi].
- `rings`: radius |r|, with r = k + 0.08 n, k in 1, 2, 3; the angle uniform.
- `spirals`: +- (t cos t, t sin t) / 3 + 0.1 (n, n'), t = 3 pi sqrt(u).
- `checkerboard`: uniform on the eight dark unit-two squares of [-4, 4]^2.
- `pinwheel`: R(2 pi k / 5 + log(1 + |v|)) v with v = (2 + 0.6 n, 0.2 n'); rotation by a function of |v| keeps areas.
- `eight_gaussians`: 3 (cos k pi/4, sin k pi/4) + 0.25 (n, n').
- `two_bananas`: v = (n + 1, 0.3 n' + n^2 / 2 - 1) or its point reflection -v.
- `letter`: c + 0.12 (n, n'), where c is uniform along the strokes of a P: the stem from (-0.9, -2) to (-0.9, 2), the
  bars at heights 2 and 0 from there to x = 0.2, and the half circle of radius 1 about (0.2, 1) that connects them.
"""

from collections.abc import Callable

import numpy as np

from pushforward.core.named_rows import to_array
from pushforward.errors import DataError, ShapeError

_MOON_NOISE, _RING_NOISE, _SPIRAL_NOISE, _GAUSSIAN_NOISE, _BANANA_NOISE = 0.1, 0.08, 0.1, 0.25, 0.3
_LETTER_NOISE = 0.12
_STEM, _BAR_END, _HEIGHT = -0.9, 0.2, 2.0  # of the letter P: x of its stem, x of the ends of its bars, half its height
_STROKES = np.array([2 * _HEIGHT, _BAR_END - _STEM, _BAR_END - _STEM, np.pi])  # lengths of stem, bars and half circle
_RADII = np.array([1.0, 2.0, 3.0])
_SPIRAL_END = 3 * np.pi
_BLADES, _BLADE_CENTRE, _BLADE_SPREAD = 5, np.array([2.0, 0.0]), np.array([0.6, 0.2])
_CENTRES = 3 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_LOG_TWO_PI = np.log(2 * np.pi)
_CHUNK = 2048  # rows at a time: the quadrature has up to 960 numbers per row


def _moons(random: np.random.Generator, n: int) -> np.ndarray:
    angle, lower = np.pi * random.random(n), random.random(n) < 0.5
    return _moon(angle, lower) + _MOON_NOISE * random.standard_normal((n, 2))


def _moon(angle: np.ndarray, lower: np.ndarray | bool) -> np.ndarray:
    upper_arc = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.where(np.asarray(lower)[..., None], np.array([1.0, 0.5]) - upper_arc, upper_arc)


def _rings(random: np.random.Generator, n: int) -> np.ndarray:
    radius = _RADII[random.integers(3, size=n)] + _RING_NOISE * random.standard_normal(n)
    angle = 2 * np.pi * random.random(n)
    return np.abs(radius)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _spirals(random: np.random.Generator, n: int) -> np.ndarray:
    sign = np.where(random.random(n) < 0.5, 1.0, -1.0)[:, None]
    return sign * _spiral(np.sqrt(random.random(n))) + _SPIRAL_NOISE * random.standard_normal((n, 2))


def _spiral(root: np.ndarray) -> np.ndarray:
    angle = _SPIRAL_END * root
    return angle[..., None] / 3 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _checkerboard(random: np.random.Generator, n: int) -> np.ndarray:
    row, pair = random.integers(4, size=n), random.integers(2, size=n)
    cell = np.stack([2 * pair + row % 2, row], axis=1)
    return 2 * (cell + random.random((n, 2))) - 4


def _pinwheel(random: np.random.Generator, n: int) -> np.ndarray:
    blade = random.integers(_BLADES, size=n)
    point = _BLADE_CENTRE + _BLADE_SPREAD * random.standard_normal((n, 2))
    return _rotate(point, 2 * np.pi * blade / _BLADES + np.log1p(np.hypot(*point.T)))


def _rotate(point: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = point[..., 0], point[..., 1]
    return np.stack([cosine * first - sine * second, sine * first + cosine * second], axis=-1)


def _eight_gaussians(random: np.random.Generator, n: int) -> np.ndarray:
    return _CENTRES[random.integers(8, size=n)] + _GAUSSIAN_NOISE * random.standard_normal((n, 2))


def _two_bananas(random: np.random.Generator, n: int) -> np.ndarray:
    sign = np.where(random.random(n) < 0.5, 1.0, -1.0)[:, None]
    along, across = random.standard_normal((2, n))
    return sign * np.stack([along + 1, _BANANA_NOISE * across + along**2 / 2 - 1], axis=1)


def _letter(random: np.random.Generator, n: int) -> np.ndarray:
    stroke = random.choice(len(_STROKES), size=n, p=_STROKES / _STROKES.sum())
    return _letter_point(stroke, random.random(n)) + _LETTER_NOISE * random.standard_normal((n, 2))


def _letter_point(stroke: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The points at the shares `along` of the strokes: 0 the stem, 1 the upper bar, 2 the lower one, 3 the bowl."""
    across, angle = _STEM + (_BAR_END - _STEM) * along, np.pi * (0.5 - along)
    first = np.choose(stroke, [np.full_like(along, _STEM), across, across, _BAR_END + np.cos(angle)])
    upper, lower = np.full_like(along, _HEIGHT), np.zeros_like(along)
    second = np.choose(stroke, [_HEIGHT * (2 * along - 1), upper, lower, 1 + np.sin(angle)])
    return np.stack([first, second], axis=-1)


def _log_normal(residual: np.ndarray, spread: np.ndarray | float) -> np.ndarray:
    """Log-density of N(0, spread^2) in each of two coordinates, summed over the last axis."""
    width = np.broadcast_to(np.asarray(spread, np.float64), (2,))
    return -0.5 * ((residual / width) ** 2).sum(axis=-1) - np.log(width).sum() - _LOG_TWO_PI


def _log_mean(parts: list[np.ndarray]) -> np.ndarray:
    """log of the mean of exp(parts) over the list, without overflow or log(0)."""
    values = np.asarray(parts)
    largest = values.max(axis=0)
    return largest + np.log(np.exp(values - largest).mean(axis=0))


def _curve_density(x: np.ndarray, curve: np.ndarray, weights: np.ndarray, noise: float) -> np.ndarray:
    """log sum_i weights_i N(x; curve_i, noise^2 I): a curve blurred by a normal, by quadrature."""
    square = (x[:, :1] - curve[:, 0]) ** 2 + (x[:, 1:] - curve[:, 1]) ** 2
    nearest = square.min(axis=1)
    total = np.exp((nearest[:, None] - square) / (2 * noise**2)) @ weights
    return np.log(total) - nearest / (2 * noise**2) - 2 * np.log(noise) - _LOG_TWO_PI


def _moons_density(x: np.ndarray) -> np.ndarray:
    node, weight = np.polynomial.legendre.leggauss(160)
    angle = np.pi * (node + 1) / 2
    curve = np.concatenate([_moon(angle, False), _moon(angle, True)])
    return _curve_density(x, curve, np.tile(weight, 2) / 4, _MOON_NOISE)


def _rings_density(x: np.ndarray) -> np.ndarray:
    radius = np.hypot(x[:, 0], x[:, 1])
    # (r, angle) with a negative r is the point (|r|, opposite angle): both signs count.
    parts = [-0.5 * ((sign * radius - ring) / _RING_NOISE) ** 2 for ring in _RADII for sign in (1, -1)]
    line = _log_mean(parts) + np.log(2) - np.log(_RING_NOISE) - 0.5 * _LOG_TWO_PI
    return line - _LOG_TWO_PI - np.log(np.maximum(radius, np.finfo(np.float64).tiny))


def _spirals_density(x: np.ndarray) -> np.ndarray:
    node, weight = np.polynomial.legendre.leggauss(480)
    root = (node + 1) / 2
    curve = np.concatenate([_spiral(root), -_spiral(root)])
    return _curve_density(x, curve, np.tile(weight * root, 2) / 2, _SPIRAL_NOISE)  # sqrt(u) has the density 2 root


def _checkerboard_density(x: np.ndarray) -> np.ndarray:
    cell = np.floor((x + 4) / 2)
    is_dark = (cell >= 0).all(axis=1) & (cell < 4).all(axis=1) & (cell.sum(axis=1) % 2 == 0)
    return np.where(is_dark, -np.log(32.0), -np.inf)


def _pinwheel_density(x: np.ndarray) -> np.ndarray:
    angle = np.log1p(np.hypot(x[:, 0], x[:, 1]))
    blades = 2 * np.pi * np.arange(_BLADES) / _BLADES
    return _log_mean([_log_normal(_rotate(x, -(blade + angle)) - _BLADE_CENTRE, _BLADE_SPREAD) for blade in blades])


def _eight_gaussians_density(x: np.ndarray) -> np.ndarray:
    return _log_mean([_log_normal(x - centre, _GAUSSIAN_NOISE) for centre in _CENTRES])


def _two_bananas_density(x: np.ndarray) -> np.ndarray:
    spread = np.array([1.0, _BANANA_NOISE])
    bananas = [sign * x - np.array([1.0, -1.0]) for sign in (1, -1)]
    straight = [np.stack([point[:, 0], point[:, 1] - point[:, 0] ** 2 / 2], axis=1) for point in bananas]
    return _log_mean([_log_normal(point, spread) for point in straight])


def _letter_density(x: np.ndarray) -> np.ndarray:
    node, weight = np.polynomial.legendre.leggauss(128)
    stroke, share = np.repeat(np.arange(4), len(node)), np.tile((node + 1) / 2, 4)
    weights = np.repeat(_STROKES / _STROKES.sum(), len(node)) * np.tile(weight, 4) / 2
    return _curve_density(x, _letter_point(stroke, share), weights, _LETTER_NOISE)


_Sampler = Callable[[np.random.Generator, int], np.ndarray]
_Density = Callable[[np.ndarray], np.ndarray]
_SHAPES: dict[str, tuple[_Sampler, _Density]] = {
    "moons": (_moons, _moons_density),
    "rings": (_rings, _rings_density),
    "spirals": (_spirals, _spirals_density),
    "checkerboard": (_checkerboard, _checkerboard_density),
    "pinwheel": (_pinwheel, _pinwheel_density),
    "eight_gaussians": (_eight_gaussians, _eight_gaussians_density),
    "two_bananas": (_two_bananas, _two_bananas_density),
    "letter": (_letter, _letter_density),
}
TOY_NAMES = tuple(_SHAPES)


def _shape(name: str) -> tuple[_Sampler, _Density]:
    if name not in _SHAPES:
        raise DataError(f"name must be one of {', '.join(TOY_NAMES)}, got {name!r}.")
    return _SHAPES[name]


def toy(name: str, n: int, seed: int = 0) -> np.ndarray:
    """Sample `n` points of the shape `name`; the module's docstring has the formulas.

    Args:
        name: one of `TOY_NAMES`.
        n: number of points, at least 0.
        seed: of numpy's default generator.

    Returns:
        float64 array (n, 2).

    Raises:
        DataError: unknown name, or negative n.

    >>> toy("moons", 3, seed=1).shape
    (3, 2)
    """
    sampler, _ = _shape(name)
    if n < 0:
        raise DataError(f"n must be at least 0, got {n}.")
    return sampler(np.random.default_rng(seed), n)


def toy_log_density(name: str, x: np.ndarray) -> np.ndarray:
    """Exact log-density of the shape `name` at the rows of `x`, in nats.

    `moons`, `spirals` and `letter` are curves blurred by a normal: their density is a one-dimensional integral, here by
    Gauss-Legendre quadrature, accurate to about 1e-10 nats within the curves' reach (ten noise widths). The other
    five are closed forms; `checkerboard` is -inf on its light squares, `rings` has an integrable pole at the origin.

    Args:
        name: one of `TOY_NAMES`.
        x: float array (n, 2).

    Returns:
        float64 array (n,).

    Raises:
        DataError: unknown name.
        ShapeError: x is not (n, 2).
        DataError: a value is missing.

    >>> import numpy as np
    >>> float(np.exp(toy_log_density("checkerboard", np.array([[1.0, 1.0]]))[0])) * 32
    1.0
    """
    _, density = _shape(name)
    points = np.asarray(to_array(x), np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"x must have shape (n, 2), got {points.shape}: pass one point as x[None, :].")
    if np.isnan(points).any():
        row, column = np.argwhere(np.isnan(points))[0]
        raise DataError(f"expected numbers, got NaN in column {column} at row {row}: leave such rows out.", "x")
    parts = [density(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)
