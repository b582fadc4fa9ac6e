"""Flows with one fault each, which `check` must name, and a healthy one, which it must pass.

`BUILDERS` maps a fault to (builder, the row that must fail, part of the verdict). A builder returns the arguments of
`pushforward.check`.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from pushforward.bijections import Affine, Chain, Coupling, Elementwise, RationalQuadraticSpline, Standardise, halves
from pushforward.core.bijection import AbstractBijection

SMALL = {"width": 8, "depth": 1, "n_layers": 2}


def rows(n=400, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim))


def randomised(flow, seed=0, size=0.1):
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    trained = jax.tree.map(lambda a: jnp.asarray(np.asarray(a) + size * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(trained, rest)


def healthy():
    flow = randomised(pf.real_nvp(3, key=0, **SMALL))
    x = np.asarray(flow.sample(1000, key=1))
    return {"flow": flow, "x": x[:500], "train": x[500:]}


class Steep(eqx.Module):
    """A conditioner whose log-scale is six times its input: a factor of e^24 between -2 and 2."""

    def __call__(self, x, context=None, *, key=None):
        return jnp.stack([jnp.zeros_like(x), 6.0 * x])


def exploding_inverse():
    layer = Coupling(Affine(log_bound=20.0), halves(2), Steep())
    return {"flow": pf.Flow(pf.bases.Normal((2,)), layer)}


def saturated_scale():
    """The network of the second coupling emits a scale far beyond the bound e^5."""
    flow = pf.real_nvp(3, key=0, **SMALL)
    return {"flow": eqx.tree_at(_out_bias, flow, _out_bias(flow).at[1].add(30.0))}


def small_box():
    return {"flow": pf.elementwise_flow(3, key=0, transformer=RationalQuadraticSpline(4, bound=1.0)), "x": rows(dim=3)}


def over_fitted():
    """A narrow bump on each of forty training rows."""
    x = rows(440, 3)
    bumps = [pf.bases.Normal((3,), loc=row, scale=0.1) for row in x[:40]]
    return {"flow": pf.bases.Mixture(bumps), "x": x[40:], "train": x[:40]}


class Sinh(AbstractBijection):
    """x = sinh(z), with a log-determinant that lacks log cosh(z) of the last coordinate."""

    shape: tuple[int, ...] = (3,)
    context_shape: tuple[int, ...] | None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return jnp.sinh(z), jnp.sum(jnp.log(jnp.cosh(z))[:-1])

    def inverse_and_log_det(self, x, context=None, *, key=None):
        z = jnp.arcsinh(x)
        return z, -jnp.sum(jnp.log(jnp.cosh(z))[:-1])


def wrong_log_det():
    return {"flow": pf.Flow(pf.bases.Normal((3,)), Sinh())}


def nan_weights():
    flow = pf.real_nvp(3, key=0, **SMALL)
    return {"flow": eqx.tree_at(_out_bias, flow, _out_bias(flow).at[1].set(jnp.nan)), "x": rows(50, 3)}


def unstable_in_float32():
    """A column near ten million with unit spread: there the spacing of float32 is one."""
    flow = pf.real_nvp(3, key=0, **SMALL)
    units = Standardise((3,)).filled(np.array([1e7, 0.0, 0.0]), np.ones(3))
    flow = pf.Flow(flow.base, Chain([flow.bijection.bijections[0], units]))
    return {"flow": flow, "x": rows(dim=3) + np.array([1e7, 0.0, 0.0])}


class Half(pf.bases.Normal):
    """A normal density, halved."""

    def log_prob_one(self, x, context, key):
        return pf.bases.Normal.log_prob_one(self, x, context, key) - math.log(2.0)


def unnormalised():
    return {"flow": pf.Flow(Half((3,)), Elementwise(Affine(), (3,)))}


class Part(AbstractBijection):
    """x = arctanh(z / 2) in each coordinate: only |z| < 2 is reached from data, and forward clips there."""

    shape: tuple[int, ...] = (3,)
    context_shape: tuple[int, ...] | None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        u = jnp.clip(z / 2, -0.999, 0.999)
        return jnp.arctanh(u), -jnp.sum(jnp.log1p(-(u**2)) + jnp.log(2.0))

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return 2 * jnp.tanh(x), jnp.sum(jnp.log(2.0) + jnp.log1p(-(jnp.tanh(x) ** 2)))


def part_of_the_line():
    return {"flow": pf.Flow(pf.bases.Normal((3,)), Part())}


def _out_bias(flow):
    return flow.bijection.bijections[0].layers.network.out_bias


BUILDERS = {
    "exploding inverse": (exploding_inverse, "condition number", "the inverse explodes"),
    "saturated scale": (saturated_scale, "saturated scales", "a scale is saturated at its bound"),
    "small box": (small_box, "outside the splines' boxes", "outside the splines' boxes"),
    "over-fitted": (over_fitted, "over-fitting", "over-fitted"),
    "wrong log-det": (wrong_log_det, "log-det of forward", "the log-determinant is not that of the map"),
    "NaN weights": (nan_weights, "finite values", "weights are NaN"),
    "unstable in float32": (unstable_in_float32, "float32 against float64", "float32 is too coarse"),
    "un-normalised": (unnormalised, "integral of the density", "does not integrate to one"),
    "part of the line": (part_of_the_line, "integral of the density", "does not integrate to one"),
}
