"""Several samples of a student's next coordinate for one of its past: KL(student | teacher) with less variance.

Where both flows factorise in one order, KL(q | p) = E_{x ~ q} sum_t KL(q(x_t | x_<t) | p(x_t | x_<t)). A student whose
layers are affine in that order has x_t = m_t + s_t z_t with m_t, s_t functions of z_<t, so its next coordinate can be
resampled without another pass: x_t' = x_t + s_t (z_t' - z_t). A teacher of one layer evaluates them all with the
parameters of one pass. The student's entropy is exact: it is that of the base plus E sum_t log s_t.
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
from pushforward.core.chain import Chain, layers_of
from pushforward.core.flow import Flow
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat
from pushforward.core.standardise import Standardise
from pushforward.networks import AbstractAutoregressiveNetwork
from pushforward.numerics.arrays import is_array


class OneStep(NamedTuple):
    """The estimate with `n` samples of each next coordinate; hashable, a part of a program."""

    n: int

    def divergence(self, teacher: Any, student: Any, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        """KL(student | teacher) from one sample of the past, up to the constant entropy of the base, and that sample.

        Args:
            teacher, student: flows for which `one_step_mismatch` returns None.
            key: of the samples.
            context: of the flows' context shape, or None.
        """
        key_past, key_next = jax.random.split(key)
        z, _ = student.base.sample_and_log_prob_one(key_past, None)
        keys = jax.random.split(key_next, self.n)
        next_z = jax.vmap(lambda k: student.base.sample_and_log_prob_one(k, None)[0])(keys)
        x, log_scale = _affine(student.bijection, z, _embedded(student, context))
        next_x = x[None] + jnp.exp(log_scale)[None] * (next_z - z[None])
        log_probs = _next_log_probs(teacher, x, next_x, _embedded(teacher, context))
        return -jnp.sum(log_scale) - jnp.sum(jnp.mean(log_probs, 0)), x


def one_step_mismatch(teacher: Any, student: Any) -> str | None:
    """The reason why one-step samples do not fit this pair; None where they do."""
    for name, flow in (("student", student), ("teacher", teacher)):
        if not isinstance(flow, Flow) or not isinstance(flow.base, Normal | Logistic) or len(flow.shape) != 1:
            return f"the {name} is no flow of vectors over a normal or logistic base"
    layers = [part for part in _layers(student.bijection) if not isinstance(part, Standardise)]
    if any(isinstance(layer, Repeat | Chain) for layer in layers):
        return "the student has chains within chains"
    ranks = []
    for layer in layers:
        inner = layer.bijection if isinstance(layer, Inverse) else None
        if not isinstance(inner, MaskedAutoregressive) or not isinstance(inner.transformer, Affine | Translation):
            return "the student has a layer that is no inverse affine autoregressive one (pf.iaf)"
        if not isinstance(inner.network, AbstractAutoregressiveNetwork):
            return f"the student has another network, a {type(inner.network).__name__}"
        ranks.append(np.asarray(inner.network.ranks))
    teacher_layers = [part for part in _layers(teacher.bijection) if not isinstance(part, Standardise | Elementwise)]
    if len(teacher_layers) != 1 or not isinstance(teacher_layers[0], MaskedAutoregressive):
        return "the teacher is no single autoregressive layer (pf.maf with n_layers=1, pf.made_mog, pf.wavenet)"
    network = teacher_layers[0].network
    if not isinstance(network, AbstractAutoregressiveNetwork):
        return f"the teacher has another network, a {type(network).__name__}"
    ranks.append(np.asarray(network.ranks))
    if not all(np.array_equal(rank, ranks[0]) for rank in ranks):
        return "the layers of student and teacher do not share one order (order='same')"
    return None


def _layers(bijection: AbstractBijection) -> list[Any]:
    """The layers from base to data, those of a `Repeat` one by one; nested chains stay, other than in `flat_layers`."""
    layers: list[Any] = []
    for part in layers_of(bijection):
        layers += list(part) if isinstance(part, Repeat) else [part]
    return layers


def _embedded(flow: Any, context: Array | None) -> Array | None:
    """The context as input of the flow's layers."""
    return None if context is None else flow.embed_context(context)


def _affine(bijection: AbstractBijection, value: Array, context: Array | None) -> tuple[Array, Array]:
    """The student's map, and the logarithm of dx_t / dz_t for every coordinate."""
    total = jnp.zeros_like(value)
    for part in layers_of(bijection):
        if isinstance(part, Repeat):
            arrays, static = eqx.partition(part.layers, is_array)

            def step(carry: tuple[Array, Array], leaves: Any, static: Any = static) -> Any:
                value, log_scale = _affine_layer(eqx.combine(leaves, static), carry[0], context)
                return (value, carry[1] + log_scale), None

            (value, total), _ = jax.lax.scan(step, (value, total), arrays, unroll=part.unroll)
        else:
            value, log_scale = _affine_layer(part, value, context)
            total = total + log_scale
    return value, total


def _affine_layer(layer: Any, value: Array, context: Array | None) -> tuple[Array, Array]:
    if isinstance(layer, Standardise):
        scale = jnp.asarray(layer.scale, value.dtype)
        return jnp.asarray(layer.mean, value.dtype) + scale * value, jnp.log(scale)
    values, log_slopes = _inverse(layer.bijection, value, value[None], context)
    return values[0], log_slopes[0]


def _inverse(layer: MaskedAutoregressive, past: Array, values: Array, context: Array | None) -> tuple[Array, Array]:
    """A layer's inverse at values (n, D), all with the parameters of the vector `past`, and log-derivatives."""
    network: Any = layer.network
    parameters = network.parameters(past[network.order], None if layer.context_shape is None else context)
    values, log_slopes = jax.vmap(
        lambda value: apply_transformer(layer.transformer, parameters, value[network.order], inverse=True)
    )(values)
    return values[:, network.inverse_order], log_slopes[:, network.inverse_order]


def _next_log_probs(teacher: Any, x: Array, next_x: Array, context: Array | None) -> Array:
    """log p(x_t' | x_<t) for next coordinates (n, D)."""
    total = jnp.zeros_like(next_x)
    for part in reversed(_layers(teacher.bijection)):
        if isinstance(part, Standardise):
            mean, scale = jnp.asarray(part.mean, x.dtype), jnp.asarray(part.scale, x.dtype)
            x, next_x, total = (x - mean) / scale, (next_x - mean[None]) / scale[None], total - jnp.log(scale)[None]
        elif isinstance(part, Elementwise):
            x, _ = _elementwise_inverse(part, x)
            next_x, log_slopes = jax.vmap(functools.partial(_elementwise_inverse, part))(next_x)
            total = total + log_slopes
        else:
            next_x, log_slopes = _inverse(part, x, next_x, context)
            total = total + log_slopes
    return total + _base_log_probs(teacher.base, next_x)


def _elementwise_inverse(layer: Elementwise, value: Array) -> tuple[Array, Array]:
    """The layer's inverse at every coordinate, and log-derivatives."""
    return apply_transformer(layer.transformer, layer.parameters, value, inverse=True)


def _base_log_probs(base: Any, z: Array) -> Array:
    """Log-densities of the base's independent coordinates, one for each."""
    noise, log_scale = (z - base.loc[None]) / base.scale[None], jnp.log(base.scale)[None]
    if isinstance(base, Normal):
        return log_standard_normal(noise) - log_scale
    return log_standard_logistic(noise) - log_scale
