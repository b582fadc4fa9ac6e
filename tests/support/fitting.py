"""Tiny flows and data for the tests of `fit`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from pushforward.bijections import Chain
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen


def flow_2d(seed=0):
    return pf.nice(dim=2, n_layers=2, width=8, depth=1, key=seed)


def data(n=400, seed=0, dim=2):
    """Normal columns, in which the second also depends on the square of the first."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, dim))
    x[:, 1:] += 0.5 * x[:, :1] ** 2
    return x


def fit(x, flow=None, **options):
    """One quiet epoch of `fit` from the current weights of a tiny flow; options override every default."""
    options = {"key": 0, "batch_size": 50, "max_epochs": 1, "validation": data(64, 9), "progress": False} | options
    options = {"start": "given"} | options
    return pf.fit(flow_2d() if flow is None else flow, x, **options)


def numbers(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(flow) if eqx.is_array(leaf)]


def trained_numbers(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(flow, pf.trainable(flow)))]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


class Brittle(AbstractBijection):
    """The identity, whose log-determinant is NaN beyond a bound in training (when there is a key)."""

    bound: np.ndarray = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: None = eqx.field(static=True)

    def __init__(self, bound):
        self.bound, self.shape, self.context_shape = np.asarray(bound, np.float32), (2,), None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z, jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        fails = jnp.any(jnp.abs(x) > self.bound) if key is not None else False
        return x, jnp.where(fails, jnp.nan, jnp.zeros((), x.dtype))


class Cliff(AbstractBijection):
    """x = z + shift, whose log-determinant is NaN once the trained shift has left a box: no step leads back."""

    shift: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: None = eqx.field(static=True)

    def __init__(self, shift):
        self.shift, self.shape, self.context_shape = jnp.full(2, shift), (2,), None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.shift, self._log_det()

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.shift, self._log_det()

    def _log_det(self):
        return jnp.where(jnp.any(jnp.abs(self.shift) > 0.1), jnp.nan, 0.0)


def brittle_flow(bound):
    stack = flow_2d().bijection.bijections
    return pf.Flow(pf.bases.Normal((2,)), Chain([*stack[:-1], Brittle(bound), stack[-1]]))
