"""The sequential direction of a masked perceptron, and its gradient: each at about the price of one pass.

The gradient is that of the implicit function. Where x = h(z; theta(x)), a cotangent of x reaches what depends on x by

    lambda = x_bar + (d theta / dx)^T u,   u = d/d theta <(lambda, log_det_bar), (h, log h')>,

and what depends on z and on the weights as in one ordinary pass at the x that was found, with u. The Jacobian
d theta / dx is triangular, so lambda is found in order, from the last coordinate to the first: the transposed network
is itself a masked one, linear, of degrees D - d. Nothing of the recurrence that led to x needs to be kept.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.networks.autoregressive import TransformerFn
from pushforward.networks.masked_pass import MaskedPass, masked
from pushforward.networks.masked_recurrence import BlockedRecurrence
from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.tangents import reverse_only

_NO_FORWARD_MODE = (
    "the cached direction of a masked network has derivatives by reverse mode, and by forward mode over reverse, but "
    "not by forward-mode differentiation alone. Use reverse mode (jax.grad, jax.jacrev), or method='jacobi' or "
    "'sequential' of MaskedAutoregressive."
)


class BlockedSolve:
    """The sequential direction as a function of (data, weights), ready for `numerics.trailing_batch`.

    Args:
        law: law(law_weights, parameters (P, ...), z (...)) -> (x, log-slope), element by element.
        all_at_once: the network's pass.
        degrees: (W,) degrees of the hidden units, not decreasing; the same in every hidden layer.
        out_shape: (P, D).
    """

    def __init__(
        self, law: TransformerFn, all_at_once: MaskedPass, degrees: np.ndarray, out_shape: tuple[int, ...]
    ) -> None:
        self.law, self.all_at_once = law, all_at_once
        n_parameters, dim = out_shape
        self.there = BlockedRecurrence(degrees, dim, n_in=1, n_out=n_parameters)
        self.back = BlockedRecurrence((dim - degrees)[::-1], dim, n_in=n_parameters, n_out=1)

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
        """x, in order as z is, and the log-determinant.

        Args:
            data: (z,) or (z, context), each with or without a trailing batch axis.
            weights: those of `MaskedPass`, and the weights of the law.
        """
        return _solved(self, *reverse_only((data, weights), _NO_FORWARD_MODE))

    def solve(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
        """What `__call__` gives, by the recurrence."""
        network_weights, law_weights = weights
        matrices, biases, out_weight, out_bias, context_weights = self._masked(network_weights)
        z, tail = data[0], data[0].shape[1:]
        head = [jnp.ones((1, *tail), z.dtype), *(jnp.broadcast_to(c, (c.shape[0], *tail)) for c in data[1:])]
        lefts = [
            jnp.concatenate([bias[:, None], *([context_weights[index].T] if context_weights else [])], 1)
            for index, bias in enumerate(biases)
        ]
        left_out = jnp.concatenate([out_bias[..., None], *context_weights[-1:]], 2)

        def unit(index: int, value: Array, stream: Array | None, _: None) -> tuple[Array, Array | None]:
            value, stream = self.all_at_once.joined(index, value, stream)
            return self.all_at_once.activation(value), stream

        def step(parameters: Array, z: Array) -> tuple[Array, tuple[Array, Array]]:
            x, log_slope = self.law(law_weights, parameters, z)
            return x[None], (x, log_slope)

        layers = list(zip(lefts, matrices, strict=True))
        x, log_slopes = self.there(jnp.concatenate(head), layers, (left_out, out_weight), unit, step, None, z)
        return x, jnp.sum(log_slopes, 0)

    def pull_back(
        self, data: tuple[Array, ...], weights: tuple, x: Array, x_bar: Array, log_det_bar: Array
    ) -> tuple[tuple[Array, ...], tuple]:
        """Cotangents of data and weights from those of x and of the log-determinant."""
        network_weights, law_weights = weights
        z, given = data[0], data[1:]

        def run(given: tuple[Array, ...], network_weights: tuple) -> tuple[Array, list[Array]]:
            return self.all_at_once.run((x, *given), network_weights)

        parameters, pull_network, inner = jax.vjp(run, given, network_weights, has_aux=True)
        _, pull_law = jax.vjp(self.law, law_weights, parameters, z)
        log_slope_bar, none = jnp.broadcast_to(log_det_bar, x.shape), jnp.zeros_like(x)
        by_image, by_slope = pull_law((jnp.ones_like(x), none))[1], pull_law((none, log_slope_bar))[1]
        cotangent = self._adjoint(network_weights, inner, by_image, by_slope, x_bar)
        law_bar, parameters_bar, z_bar = pull_law((cotangent, log_slope_bar))
        given_bar, network_bar = pull_network(parameters_bar)
        return (z_bar, *given_bar), (network_bar, law_bar)

    def _adjoint(
        self, network_weights: tuple, inner: list[Array], by_image: Array, by_slope: Array, x_bar: Array
    ) -> Array:
        """lambda (D, ...): the transposed network in order, everything in it turned round."""
        matrices, _, out_weight, *_ = self._masked(network_weights)
        first = out_weight[:, ::-1, ::-1].transpose(2, 1, 0).reshape(out_weight.shape[2], -1)
        turned = [first, *(matrix.T[::-1, ::-1] for matrix in matrices[:0:-1])]
        layers = [(matrix[:, :0], matrix) for matrix in turned]
        last = matrices[0].T[::-1, ::-1][None]
        activation = self.all_at_once.activation
        slopes = [jax.jvp(activation, (value,), (jnp.ones_like(value),))[1][::-1] for value in inner[::-1]]

        def unit(index: int, value: Array, stream: Array | None, slope: Array) -> tuple[Array, Array | None]:
            return self.all_at_once.joined(index, slope * value, stream)

        def step(read: Array, data: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            by_image, by_slope, x_bar = data
            total = x_bar + read[0]
            return by_image * total[None] + by_slope, total

        data = jnp.moveaxis(by_image, 1, 0)[::-1], jnp.moveaxis(by_slope, 1, 0)[::-1], x_bar[::-1]
        return self.back(x_bar[:0], layers, (last[..., :0], last), unit, step, slopes, data)[::-1]

    def _masked(self, network_weights: tuple) -> tuple:
        matrices, biases, out_weight, *rest = network_weights
        *matrices, out_weight = [
            masked(weight, seen) for weight, seen in zip((*matrices, out_weight), self.all_at_once.seen, strict=True)
        ]
        return matrices, biases, out_weight, *rest


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solved(solver: BlockedSolve, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
    return solver.solve(data, weights)


@in_full_precision
def _forward(solver: BlockedSolve, data: tuple[Array, ...], weights: tuple) -> tuple[tuple[Array, Array], tuple]:
    x, log_det = solver.solve(data, weights)
    return (x, log_det), (data, weights, x)


@in_full_precision
def _backward(solver: BlockedSolve, kept: tuple, bars: tuple[Array, Array]) -> tuple:
    return solver.pull_back(*kept, *bars)


_solved.defvjp(_forward, _backward)
