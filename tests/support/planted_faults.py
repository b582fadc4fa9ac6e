"""Densities in closed form with rows that are not their samples (planted faults), or that are (healthy).

`FAULTS` maps a name to a function of (n, random) that returns the arguments of `pushforward.check` with n rows;
`HEALTHY` likewise, where the rows are samples of the density.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Exp, Sigmoid
from pushforward.core.bijection import AbstractBijection

Random = np.random.Generator
Arguments = dict[str, Any]


class ShiftScale(AbstractBijection):
    """x = m(c) + s(c) z, with one shift and one scale for each column."""

    parameters: Any = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def forward_and_log_det(self, z, context=None, *, key=None):
        shift, log_scale = self._shift_and_scale(context, z)
        return shift + jnp.exp(log_scale) * z, log_scale.sum()

    def inverse_and_log_det(self, x, context=None, *, key=None):
        shift, log_scale = self._shift_and_scale(context, x)
        return (x - shift) * jnp.exp(-log_scale), -log_scale.sum()

    def _shift_and_scale(self, context, value):
        shift, log_scale = self.parameters(context, jnp)
        return jnp.broadcast_to(shift, value.shape), jnp.broadcast_to(log_scale, value.shape)


class Parabola(AbstractBijection):
    """x = (z_1, z_1^2 + s z_2)."""

    size: float = eqx.field(static=True)
    shape: tuple[int, ...] = (2,)
    context_shape: tuple[int, ...] | None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return jnp.stack([z[0], z[0] ** 2 + self.size * z[1]]), jnp.log(jnp.asarray(self.size, z.dtype))

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return jnp.stack([x[0], (x[1] - x[0] ** 2) / self.size]), -jnp.log(jnp.asarray(self.size, x.dtype))


@functools.cache
def normal(dim: int = 3, scale: Any = 1.0) -> pf.Flow:
    return pf.Flow(pf.bases.Normal((dim,), scale=scale), Elementwise(Affine(), (dim,)))


@functools.cache
def correlated(dim: int, correlation: float) -> pf.Flow:
    factor = np.linalg.cholesky(correlation + (1 - correlation) * np.eye(dim))
    layer = pf.bijections.Dense(dim)
    layer = eqx.tree_at(lambda dense: dense.weight, layer, jnp.asarray(factor - np.eye(dim), jnp.float32))
    return pf.Flow(pf.bases.Normal((dim,)), Chain([layer]))


def correlated_samples(dim: int, correlation: float, n: int, random: Random) -> np.ndarray:
    factor = np.linalg.cholesky(correlation + (1 - correlation) * np.eye(dim))
    return random.normal(size=(n, dim)) @ factor.T


@functools.cache
def mixture(centres: tuple[tuple[float, ...], ...], scale: float = 1.0, weights: Any = None) -> Any:
    parts = [pf.bases.Normal((len(centre),), loc=np.array(centre), scale=scale) for centre in centres]
    return pf.bases.Mixture(parts, weights=None if weights is None else np.array(weights))


@functools.cache
def regression(parameters: Any, dim: int = 1, context_dim: int = 1) -> pf.Flow:
    return pf.Flow(pf.bases.Normal((dim,)), ShiftScale(parameters, (dim,), (context_dim,)))


def sample(flow: Any, n: int, random: Random, context: Any = None) -> np.ndarray:
    key = jax.random.key(int(random.integers(2**31)))
    if context is None:
        return np.asarray(flow.sample(n, key=key), np.float64)
    return np.asarray(flow.sample((), key=key, context=context), np.float64)


def _columns(change: Any, dim: int = 3) -> Any:
    """Standard normal rows with a change, against a standard normal density."""

    def arguments(n: int, random: Random) -> Arguments:
        x = random.normal(size=(n, dim))
        return {"flow": normal(dim), "x": change(x, random)}

    return arguments


def _conditional(parameters: Any, rows: Any, dim: int = 1, context_dim: int = 1) -> Any:
    """Rows whose mean and scale are not those of the density; contexts are standard normal."""

    def arguments(n: int, random: Random) -> Arguments:
        c, z = random.normal(size=(n, context_dim)), random.normal(size=(n, dim))
        return {"flow": regression(parameters, dim, context_dim), "x": rows(c, z, random), "context": c}

    return arguments


def _set(x: np.ndarray, column: int, values: Any) -> np.ndarray:
    out = x.copy()
    out[:, column] = values
    return out


def _some(share: float, n: int, random: Random) -> np.ndarray:
    return random.random(n) < share


def _where(share: float, values: Any) -> Any:
    """Other values in the first column of a share of the rows."""

    def change(x: np.ndarray, random: Random) -> np.ndarray:
        other = values(x, random) if callable(values) else values
        return _set(x, 0, np.where(_some(share, len(x), random), other, x[:, 0]))

    return change


def _t(dof: float) -> Any:
    def change(x: np.ndarray, random: Random) -> np.ndarray:
        heavy = random.standard_t(dof, len(x))
        return _set(x, 0, heavy * (np.sqrt((dof - 2) / dof) if dof > 2 else 0.8))

    return change


def _dependent(x: np.ndarray, random: Random) -> np.ndarray:
    return _set(x, 1, (x[:, 0] ** 2 - 1) / np.sqrt(2) * 0.5 + np.sqrt(0.75) * x[:, 1])


def _signs(x: np.ndarray, random: Random) -> np.ndarray:
    """The sign of the third column is that of the product of the others, in six of ten rows more than by chance."""
    agree = np.sign(x[:, 0] * x[:, 1])
    return _set(x, 2, np.where(_some(0.6, len(x), random), agree * np.abs(x[:, 2]), x[:, 2]))


def _spread_by_column(x: np.ndarray, random: Random) -> np.ndarray:
    return _set(x, 1, x[:, 1] * np.where(np.abs(x[:, 0]) < 0.67, 1.3, 0.6))


def _rings(radius: float, scale: float) -> tuple[tuple[float, float], ...]:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return tuple((float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles)


def _ring(n: int, random: Random) -> Arguments:
    angle, radius = random.uniform(0, 2 * np.pi, n), np.sqrt(2) + 0.15 * random.normal(size=n)
    return {"flow": normal(2), "x": np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)}


def _thin_ring(n: int, random: Random) -> Arguments:
    angle, radius = random.uniform(0, 2 * np.pi, n), 3 + 0.2 * random.normal(size=n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return {"flow": mixture(_rings(3.0, 0.4), 0.4), "x": x}


def _modes(share: float, centre: tuple[float, ...], flow_share: float = 0.0) -> Any:
    def arguments(n: int, random: Random) -> Arguments:
        in_mode = _some(share, n, random)
        x = random.normal(size=(n, len(centre))) + in_mode[:, None] * np.array(centre)
        if not flow_share:
            return {"flow": normal(len(centre)), "x": x}
        return {"flow": mixture(((0.0,) * len(centre), centre), 1.0, (1 - flow_share, flow_share)), "x": x}

    return arguments


def _bimodal(x: np.ndarray, random: Random) -> np.ndarray:
    return _set(x, 0, 0.9 * np.sign(x[:, 1] * 0 + random.normal(size=len(x))) + np.sqrt(0.19) * x[:, 0])


def _line(n: int) -> np.ndarray:
    t = np.linspace(0, 12, n)
    return np.stack([np.cos(t), np.sin(t), t / 4], 1)


def _helix(n: int, random: Random) -> Arguments:
    t = random.uniform(0, 12, n)
    tube = mixture(tuple(map(tuple, _line(120).tolist())), 0.05)
    return {"flow": tube, "x": np.stack([np.cos(t), np.sin(t), t / 4], 1)}


def _sphere(n: int, random: Random) -> Arguments:
    x, centres = random.normal(size=(n, 3)), np.random.default_rng(0).normal(size=(200, 3))
    x, centres = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, centres))
    shell = mixture(tuple(map(tuple, centres.tolist())), 0.1)
    return {"flow": shell, "x": x}


def _plane(n: int, random: Random) -> Arguments:
    x = random.normal(size=(n, 3))
    x[:, 2] = x[:, 0] + x[:, 1]
    layer = pf.bijections.Dense(3)
    factor = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0.05]]) - np.eye(3)
    layer = eqx.tree_at(lambda dense: dense.weight, layer, jnp.asarray(factor, jnp.float32))
    return {"flow": pf.Flow(pf.bases.Normal((3,)), Chain([layer])), "x": x}


def _leaked(share: float, noise: float = 0.0) -> Any:
    def arguments(n: int, random: Random) -> Arguments:
        train, x = random.normal(size=(2, n, 3))
        copied = np.flatnonzero(_some(share, n, random))
        x[copied] = train[random.permutation(n)[: len(copied)]] + noise * random.normal(size=(len(copied), 3))
        return {"flow": normal(3), "x": x, "train": train}

    return arguments


def _over_fitted(n: int, random: Random) -> Arguments:
    train, x = random.normal(size=(200, 3)), random.normal(size=(n, 3))
    return {"flow": mixture(tuple(map(tuple, train.tolist())), 0.25), "x": x, "train": train}


def _repeated(x: np.ndarray, random: Random) -> np.ndarray:
    return x[random.integers(len(x) // 5, size=len(x))]


def _parabola(n: int, random: Random) -> Arguments:
    x = random.normal(size=(n, 2))
    x[:, 1] = x[:, 0] ** 2 + 0.2 * x[:, 1]
    return {"flow": pf.Flow(pf.bases.Normal((2,)), Parabola(0.1)), "x": x}


def _closer(n: int, random: Random) -> Arguments:
    return {"flow": correlated(2, 0.99), "x": correlated_samples(2, 0.98, n, random)}


def _opposite(n: int, random: Random) -> Arguments:
    return {"flow": correlated(2, 0.3), "x": correlated_samples(2, -0.3, n, random)}


def _swapped(n: int, random: Random) -> Arguments:
    return {"flow": normal(3, (1.0, 1.4, 1.0)), "x": random.normal(size=(n, 3)) * np.array([1.4, 1.0, 1.0])}


def _lighter(n: int, random: Random) -> Arguments:
    return {"flow": pf.Flow(pf.bases.StudentT((2,), 3.0), Elementwise(Affine(), (2,))), "x": random.normal(size=(n, 2))}


def _classes(n: int, random: Random) -> Arguments:
    """One class of five has another mean."""
    c = random.integers(0, 5, n)[:, None].astype(float)
    return {"flow": regression(mean_of(0.0), 1, 1), "x": random.normal(size=(n, 1)) + 0.6 * (c == 3), "context": c}


def _correlated_by_sign(c: np.ndarray, z: np.ndarray, random: Random) -> np.ndarray:
    return np.stack([z[:, 0], 0.4 * np.sign(c[:, 0]) * z[:, 0] + np.sqrt(1 - 0.16) * z[:, 1]], 1)


def _skewed_by_context(c: np.ndarray, z: np.ndarray, random: Random) -> np.ndarray:
    skewed = random.gamma(4.0, size=z.shape) / 2 - 2.0
    return c + np.where(c > 0, skewed, -skewed)


def _zeros_by_context(c: np.ndarray, z: np.ndarray, random: Random) -> np.ndarray:
    return np.where((c > 1) & (random.random(z.shape) < 0.4), 0.0, c + z)


def _shuffled(c: np.ndarray, z: np.ndarray, random: Random) -> np.ndarray:
    other = np.where(random.random(c.shape) < 0.25, random.permutation(c), c)
    return other + z


@functools.cache
def mean_of(slope: float) -> Any:
    return lambda c, xp: (slope * c, xp.zeros(()))


def _spread(c: Any, xp: Any) -> Any:
    return c, 0.5 * c


def _second(c: Any, xp: Any) -> Any:
    return c[:1], 0.0 * c[:1]


FAULTS = {
    "shift of 0.2": _columns(lambda x, random: x + np.array([0.2, 0, 0])),
    "scale of 1.25": _columns(lambda x, random: x * np.array([1.25, 1, 1])),
    "all scales of 0.85": _columns(lambda x, random: x * 0.85),
    "skewed column": _columns(lambda x, random: _set(x, 0, random.gamma(4.0, size=len(x)) / 2 - 2)),
    "tails of t4": _columns(_t(4.0)),
    "tails of t2": _columns(_t(2.0)),
    "uniform column": _columns(lambda x, random: _set(x, 0, random.uniform(-1.732, 1.732, len(x)))),
    "two modes as one": _columns(_bimodal),
    "exponential column": _columns(lambda x, random: _set(x, 0, random.exponential(size=len(x)) - 1)),
    "cut off at 1.5": _columns(lambda x, random: x[np.abs(x[:, 0]) < 1.5]),
    "lighter tails": _lighter,
    "correlation of 0.4": lambda n, random: {"flow": normal(2), "x": correlated_samples(2, 0.4, n, random)},
    "correlation of 0.2 in 8 columns": lambda n, random: {
        "flow": normal(8),
        "x": correlated_samples(8, 0.2, n, random),
    },
    "correlation of the wrong sign": _opposite,
    "correlation 0.98 for 0.99": _closer,
    "square dependence": _columns(_dependent),
    "signs of three columns": _columns(_signs),
    "spread by another column": _columns(_spread_by_column),
    "swapped columns": _swapped,
    "ring for a normal": _ring,
    "ring too thick": _thin_ring,
    "bend too thin": _parabola,
    "mode of a tenth dropped": _modes(0.1, (4.0, 4.0)),
    "mode of a twentieth dropped": _modes(0.05, (5.0, -5.0)),
    "mode of a tenth dropped in 8 columns": _modes(0.1, (2.0,) * 8),
    "mode of a tenth invented": _modes(0.0, (5.0, 0.0), 0.1),
    "weights of modes": _modes(0.4, (6.0, 0.0), 0.5),
    "outliers of 3 %": _columns(_where(0.03, lambda x, random: 10 * random.normal(size=len(x)))),
    "other units in 3 %": _columns(_where(0.03, lambda x, random: 100 * x[:, 0])),
    "sentinel in 2 %": _columns(_where(0.02, -999.0)),
    "zeros in 10 %": _columns(_where(0.1, 0.0)),
    "zeros in 3 %": _columns(_where(0.03, 0.0)),
    "half of the rows zero": _columns(_where(0.5, lambda x, random: 0.0)),
    "upper limit": _columns(lambda x, random: np.minimum(x, 1.8)),
    "rounded to halves": _columns(lambda x, random: _set(x, 0, np.round(2 * x[:, 0]) / 2)),
    "rounded to tenths": _columns(lambda x, random: _set(x, 1, np.round(x[:, 1], 1))),
    "negative as zero": _columns(lambda x, random: np.maximum(x, 0.0)),
    "rows five times": _columns(_repeated),
    "curve": _helix,
    "surface": _sphere,
    "plane": _plane,
    "all rows leaked": _leaked(1.0),
    "tenth of the rows leaked": _leaked(0.1),
    "leaked rows with noise": _leaked(0.3, 1e-4),
    "by heart": _over_fitted,
    "context ignored": _conditional(mean_of(0.0), lambda c, z, random: 0.3 * c + z),
    "slope of 0.8 for 1": _conditional(mean_of(1.0), lambda c, z, random: 0.8 * c + z),
    "spread by size of context": _conditional(
        mean_of(1.0), lambda c, z, random: c + np.where(np.abs(c) < 0.67, 1.3, 0.75) * z
    ),
    "spread by context": _conditional(mean_of(1.0), lambda c, z, random: c + np.exp(0.25 * c) * z),
    "square of the context": _conditional(mean_of(1.0), lambda c, z, random: c + 0.25 * (c**2 - 1) + z),
    "second context ignored": _conditional(_second, lambda c, z, random: c[:, :1] + 0.25 * c[:, 1:] + z, context_dim=2),
    "product of contexts": _conditional(
        _second, lambda c, z, random: c[:, :1] + 0.3 * c[:, :1] * c[:, 1:] + z, context_dim=2
    ),
    "correlation by context": _conditional(mean_of(0.0), _correlated_by_sign, dim=2),
    "skewness by context": _conditional(mean_of(1.0), _skewed_by_context),
    "zeros by context": _conditional(mean_of(1.0), _zeros_by_context),
    "quarter of the contexts shuffled": _conditional(mean_of(1.0), _shuffled),
    "class with another mean": _classes,
}


def _with_samples(flow: Any) -> Any:
    def arguments(n: int, random: Random) -> Arguments:
        density = flow()
        return {"flow": density, "x": sample(density, n, random), "train": sample(density, n, random)}

    return arguments


def _with_conditional_samples(flow: Any, context_dim: int) -> Any:
    def arguments(n: int, random: Random) -> Arguments:
        density, c = flow(), random.normal(size=(n, context_dim))
        return {"flow": density, "x": sample(density, n, random, c), "context": c}

    return arguments


@functools.cache
def _heavy(dof: float) -> pf.Flow:
    return pf.Flow(pf.bases.StudentT((2,), dof), Elementwise(Affine(shift=1.0, scale=3.0), (2,)))


@functools.cache
def _bounded(scale: float) -> pf.Flow:
    return pf.Flow(pf.bases.Normal((2,), scale=scale), Elementwise(Sigmoid(), (2,)))


@functools.cache
def _log_normal(scale: float) -> pf.Flow:
    return pf.Flow(pf.bases.Normal((2,), scale=scale), Elementwise(Exp(), (2,)))


@functools.cache
def _discretised() -> Any:
    return pf.Discretised(pf.bases.Normal((2,), scale=3.0), steps=[1.0, 0.0])


@functools.cache
def _trained(recipe: str, dim: int, context_dim: int | None) -> Any:
    flow: Any = getattr(pf, recipe)(dim, key=0, context_dim=context_dim, width=8, depth=1, n_layers=2)
    random = np.random.default_rng(0)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    trained = jax.tree.map(lambda a: jnp.asarray(np.asarray(a) + 0.2 * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(trained, rest)


HEALTHY = {
    "normal": _with_samples(lambda: normal(3)),
    "normal of 8 columns": _with_samples(lambda: normal(8)),
    "correlated": _with_samples(lambda: correlated(5, 0.9)),
    "nearly one line": _with_samples(lambda: correlated(2, 0.9999)),
    "t1": _with_samples(lambda: _heavy(1.0)),
    "t2": _with_samples(lambda: _heavy(2.0)),
    "t4": _with_samples(lambda: _heavy(4.0)),
    "in (0, 1)": _with_samples(lambda: _bounded(1.5)),
    "in (0, 1), at the ends": _with_samples(lambda: _bounded(5.0)),
    "log-normal": _with_samples(lambda: _log_normal(1.0)),
    "log-normal of scale 3": _with_samples(lambda: _log_normal(3.0)),
    "uniform": _with_samples(lambda: pf.Flow(pf.bases.Uniform((2,)), Elementwise(Affine(), (2,)))),
    "two modes": _with_samples(lambda: mixture(((0.0, 0.0), (8.0, 0.0)), 1.0, (0.9, 0.1))),
    "ring": _with_samples(lambda: mixture(_rings(3.0, 0.2), 0.2)),
    "bend": _with_samples(lambda: pf.Flow(pf.bases.Normal((2,)), Parabola(0.05))),
    "rounded": _with_samples(_discretised),
    "spline flow": _with_samples(lambda: _trained("nsf", 3, None)),
    "affine flow": _with_samples(lambda: _trained("real_nvp", 4, None)),
    "spread by context": _with_conditional_samples(lambda: regression(_spread), 1),
    "two contexts": _with_conditional_samples(lambda: regression(_second, 1, 2), 2),
    "affine flow with contexts": _with_conditional_samples(lambda: _trained("real_nvp", 2, 2), 2),
}
