"""Many draws of a student's next coordinate for one of its past: a calmer estimate of KL(student | teacher).

Where both flows factorise in one order, KL(q | p) = E_{x ~ q} sum_t KL(q(x_t | x_<t) | p(x_t | x_<t)). A student whose
layers are affine in that order has x_t = m_t + s_t z_t with m_t, s_t functions of z_<t, so its next coordinate can be
drawn again without another pass: x_t' = x_t + s_t (z_t' - z_t). A teacher of one layer scores them all with the
parameters of one pass. The student's entropy needs no draw at all: it is that of the base plus sum_t log s_t.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bases import Logistic, Normal
from pushforward.bases.logistic import log_standard_logistic
from pushforward.bases.normal import log_standard_normal
from pushforward.bijections import Affine, Elementwise, MaskedAutoregressive, Translation, apply_transformer
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.flow import Flow
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat
from pushforward.core.standardise import Standardise
from pushforward.numerics.arrays import is_array


class OneStep(NamedTuple):
    """The estimate with `n` draws of each next coordinate; hashable, a part of a program."""

    n: int

    def divergence(self, teacher: Any, student: Any, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        """KL(student | teacher) from one draw of the past, up to the constant entropy of the base, and that draw.

        Args:
            teacher, student: flows that `one_step_fault` finds nothing wrong with.
            key: of the draw.
            context: of the flows' context shape, or None.
        """
        key_past, key_next = jax.random.split(key)
        z, _ = student.base.sample_and_log_prob_one(key_past, None)
        keys = jax.random.split(key_next, self.n)
        again = jax.vmap(lambda k: student.base.sample_and_log_prob_one(k, None)[0])(keys)
        x, log_scale = _affine(student.bijection, z, _given(student, context))
        nexts = x[None] + jnp.exp(log_scale)[None] * (again - z[None])
        scores = _next_scores(teacher, x, nexts, _given(teacher, context))
        return -jnp.sum(log_scale) - jnp.sum(jnp.mean(scores, 0)), x


def one_step_fault(teacher: Any, student: Any) -> str | None:
    """Why one-step draws do not fit this pair, in words; None where they do."""
    for name, flow in (("student", student), ("teacher", teacher)):
        if not isinstance(flow, Flow) or not isinstance(flow.base, Normal | Logistic) or len(flow.shape) != 1:
            return f"the {name} is no flow of vectors over a normal or logistic base"
    if any(isinstance(part, Repeat | Chain) for part in _parts(student.bijection)):
        return "the student has chains within chains"
    layers = [part for part in _layers(student.bijection) if not isinstance(part, Standardise)]
    ranks = []
    for layer in layers:
        inner = layer.bijection if isinstance(layer, Inverse) else None
        if not isinstance(inner, MaskedAutoregressive) or not isinstance(inner.transformer, Affine | Translation):
            return "the student has a layer that is no inverse affine autoregressive one (pf.iaf)"
        ranks.append(np.asarray(inner.network.ranks))
    taught = [part for part in _layers(teacher.bijection) if not isinstance(part, Standardise | Elementwise)]
    if len(taught) != 1 or not isinstance(taught[0], MaskedAutoregressive):
        return "the teacher is no single autoregressive layer (pf.maf with n_layers=1, pf.made_mog, pf.wavenet)"
    ranks.append(np.asarray(taught[0].network.ranks))
    if not all(np.array_equal(rank, ranks[0]) for rank in ranks):
        return "the layers of student and teacher do not share one order (order='same')"
    return None


def _layers(bijection: AbstractBijection) -> list[Any]:
    """The layers from base to data, those of a `Repeat` one by one."""
    return [
        layer
        for part in _parts(bijection, whole=True)
        for layer in ([part.layer(i) for i in range(part.n_layers)] if isinstance(part, Repeat) else [part])
    ]


def _parts(bijection: AbstractBijection, *, whole: bool = False) -> list[Any]:
    """The parts of a chain; what is inside them unless `whole`."""
    parts = list(bijection.bijections) if isinstance(bijection, Chain) else [bijection]
    return parts if whole else [part.layers if isinstance(part, Repeat) else part for part in parts]


def _given(flow: Any, context: Array | None) -> Array | None:
    """The context as the flow's layers see it."""
    return None if context is None else flow.embed_context(context)


def _affine(bijection: AbstractBijection, value: Array, context: Array | None) -> tuple[Array, Array]:
    """The student's map, and the logarithm of dx_t / dz_t for every coordinate."""
    total = jnp.zeros_like(value)
    for part in _parts(bijection, whole=True):
        if isinstance(part, Repeat):
            arrays, static = eqx.partition(part.layers, is_array)

            def step(state: tuple[Array, Array], leaves: Any, static: Any = static) -> Any:
                value, log_scale = _affine_layer(eqx.combine(leaves, static), state[0], context)
                return (value, state[1] + log_scale), None

            (value, total), _ = jax.lax.scan(step, (value, total), arrays, unroll=part.unroll)
        else:
            value, log_scale = _affine_layer(part, value, context)
            total = total + log_scale
    return value, total


def _affine_layer(layer: Any, value: Array, context: Array | None) -> tuple[Array, Array]:
    if isinstance(layer, Standardise):
        scale = jnp.asarray(layer.scale, value.dtype)
        return jnp.asarray(layer.mean, value.dtype) + scale * value, jnp.log(scale)
    images, log_slopes = _through(layer.bijection, value, value[None], context)
    return images[0], log_slopes[0]


def _through(layer: MaskedAutoregressive, past: Array, values: Array, context: Array | None) -> tuple[Array, Array]:
    """Rows of coordinates (n, D) through a layer's inverse, all with the parameters that the row `past` gives."""
    network = layer.network
    parameters = network.in_order(past[network.order], None if layer.context_shape is None else context)
    images, log_slopes = jax.vmap(
        lambda value: apply_transformer(layer.transformer, parameters, value[network.order], inverse=True)
    )(values)
    return images[:, network.places], log_slopes[:, network.places]


def _next_scores(teacher: Any, x: Array, nexts: Array, context: Array | None) -> Array:
    """log p(x_t' | x_<t) for rows of next coordinates (n, D)."""
    total = jnp.zeros_like(nexts)
    for part in reversed(_layers(teacher.bijection)):
        if isinstance(part, Standardise):
            mean, scale = jnp.asarray(part.mean, x.dtype), jnp.asarray(part.scale, x.dtype)
            x, nexts, total = (x - mean) / scale, (nexts - mean[None]) / scale[None], total - jnp.log(scale)[None]
        elif isinstance(part, Elementwise):
            x, _ = _each(part, x)
            nexts, log_slopes = jax.vmap(functools.partial(_each, part))(nexts)
            total = total + log_slopes
        else:
            nexts, log_slopes = _through(part, x, nexts, context)
            total = total + log_slopes
    return total + _base_scores(teacher.base, nexts)


def _each(layer: Elementwise, value: Array) -> tuple[Array, Array]:
    """Coordinates through the layer's inverse, with the logarithm of each one's slope."""
    return apply_transformer(layer.transformer, layer.parameters, value, inverse=True)


def _base_scores(base: Any, z: Array) -> Array:
    """Log-densities of the base's independent coordinates, one by one."""
    noise, log_scale = (z - base.loc[None]) / base.scale[None], jnp.log(base.scale)[None]
    if isinstance(base, Normal):
        return log_standard_normal(noise) - log_scale
    return log_standard_logistic(noise) - log_scale
