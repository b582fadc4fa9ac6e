"""The sequential direction of a masked perceptron and its gradient, each at about the cost of one pass.

The gradient is the implicit one. With x = h(z; theta(x)), the adjoint lambda of x solves

    lambda = x_bar + (d theta / dx)^T u,   u = d/d theta <(lambda, log_det_bar), (h, log h')>,

and the cotangents of z and of the weights are those of one ordinary pass at the solution x, with u. The Jacobian
d theta / dx is triangular, so lambda is computed from the last coordinate to the first: the transposed network is
itself a masked linear network, of degrees D - d. No intermediate value of the recurrence is stored. Forward mode
applies the transpose of this linear map, and higher derivatives differentiate it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.networks.autoregressive import TransformerFn
from pushforward.networks.masked_pass import MaskedPass, masked
from pushforward.networks.masked_recurrence import BlockedRecurrence
from pushforward.numerics.linear_maps import transpose_of
from pushforward.numerics.trailing_batch import custom_jvp


class BlockedSolve:
    """The sequential direction as a function of (data, weights), for `numerics.trailing_batch`.

    Args:
        transformer_fn: (transformer weights, parameters (P, ...), z (...)) -> (x, log-slope), element by element.
        masked_pass: the parallel pass of the network.
        degrees: (W,) degrees of the hidden units, non-decreasing; the same in every hidden layer.
        out_shape: (P, D).
    """

    def __init__(
        self, transformer_fn: TransformerFn, masked_pass: MaskedPass, degrees: np.ndarray, out_shape: tuple[int, ...]
    ) -> None:
        self.transformer_fn, self.masked_pass = transformer_fn, masked_pass
        n_parameters, dim = out_shape
        self.recurrence = BlockedRecurrence(degrees, dim, n_in=1, n_out=n_parameters)
        self.adjoint_recurrence = BlockedRecurrence((dim - degrees)[::-1], dim, n_in=n_parameters, n_out=1)
        self._with_tangents = custom_jvp(self.solve)
        self._with_tangents.defjvp(self._tangents)

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
        """x, sorted by order as z is, and the log-determinant.

        Args:
            data: (z,) or (z, context), each with or without a trailing batch axis.
            weights: those of `MaskedPass`, and the weights of the transformer.
        """
        return self._with_tangents(data, weights)

    def _tangents(self, primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        data, weights = primals
        outs = self._with_tangents(data, weights)  # its derivative follows this rule again
        return outs, transpose_of(self.pull_back, (data, weights, outs[0]), outs, tangents)

    def solve(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
        """The recurrence of `__call__`, without its derivative rule."""
        network_weights, transformer_weights = weights
        matrices, biases, out_weight, out_bias, context_weights = self._masked(network_weights)
        z, tail = data[0], data[0].shape[1:]
        head = [jnp.ones((1, *tail), z.dtype), *(jnp.broadcast_to(c, (c.shape[0], *tail)) for c in data[1:])]
        lefts = [
            jnp.concatenate([bias[:, None], *([context_weights[index].T] if context_weights else [])], 1)
            for index, bias in enumerate(biases)
        ]
        left_out = jnp.concatenate([out_bias[..., None], *context_weights[-1:]], 2)

        def unit(index: int, value: Array, skip: Array | None, _: None) -> tuple[Array, Array | None]:
            value, skip = self.masked_pass.add_skip(index, value, skip)
            return self.masked_pass.activation(value), skip

        def step(parameters: Array, z: Array) -> tuple[Array, tuple[Array, Array]]:
            x, log_slope = self.transformer_fn(transformer_weights, parameters, z)
            return x[None], (x, log_slope)

        layers = list(zip(lefts, matrices, strict=True))
        x, log_slopes = self.recurrence(jnp.concatenate(head), layers, (left_out, out_weight), unit, step, None, z)
        return x, jnp.sum(log_slopes, 0)

    def pull_back(
        self, residuals: tuple[tuple[Array, ...], tuple, Array], bars: tuple[Array, Array]
    ) -> tuple[tuple[Array, ...], tuple]:
        """Cotangents of data and weights from those of x and of the log-determinant.

        Args:
            residuals: data, weights, and the solution x.
            bars: cotangents of x and of the log-determinant.
        """
        (data, weights, x), (x_bar, log_det_bar) = residuals, bars
        network_weights, transformer_weights = weights
        z, contexts = data[0], data[1:]

        def run(contexts: tuple[Array, ...], network_weights: tuple) -> tuple[Array, list[Array]]:
            return self.masked_pass.run((x, *contexts), network_weights)

        parameters, network_vjp, pre_activations = jax.vjp(run, contexts, network_weights, has_aux=True)
        _, transformer_vjp = jax.vjp(self.transformer_fn, transformer_weights, parameters, z)
        log_slope_bar, zero = jnp.broadcast_to(log_det_bar, x.shape), jnp.zeros_like(x)
        from_value, from_slope = transformer_vjp((jnp.ones_like(x), zero))[1], transformer_vjp((zero, log_slope_bar))[1]
        adjoint = self._adjoint(network_weights, pre_activations, from_value, from_slope, x_bar)
        transformer_bar, parameters_bar, z_bar = transformer_vjp((adjoint, log_slope_bar))
        context_bars, network_bar = network_vjp(parameters_bar)
        return (z_bar, *context_bars), (network_bar, transformer_bar)

    def _adjoint(
        self, network_weights: tuple, pre_activations: list[Array], from_value: Array, from_slope: Array, x_bar: Array
    ) -> Array:
        """lambda (D, ...), by the recurrence of the transposed network with all axes reversed."""
        matrices, _, out_weight, *_ = self._masked(network_weights)
        first = out_weight[:, ::-1, ::-1].transpose(2, 1, 0).reshape(out_weight.shape[2], -1)
        transposed = [first, *(matrix.T[::-1, ::-1] for matrix in matrices[:0:-1])]
        layers = [(matrix[:, :0], matrix) for matrix in transposed]
        last = matrices[0].T[::-1, ::-1][None]
        activation = self.masked_pass.activation
        slopes = [jax.jvp(activation, (value,), (jnp.ones_like(value),))[1][::-1] for value in pre_activations[::-1]]

        def unit(index: int, value: Array, skip: Array | None, slope: Array) -> tuple[Array, Array | None]:
            return self.masked_pass.add_skip(index, slope * value, skip)

        def step(outputs: Array, data: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            from_value, from_slope, x_bar = data
            adjoint = x_bar + outputs[0]
            return from_value * adjoint[None] + from_slope, adjoint

        data = jnp.moveaxis(from_value, 1, 0)[::-1], jnp.moveaxis(from_slope, 1, 0)[::-1], x_bar[::-1]
        return self.adjoint_recurrence(x_bar[:0], layers, (last[..., :0], last), unit, step, slopes, data)[::-1]

    def _masked(self, network_weights: tuple) -> tuple:
        matrices, biases, out_weight, *rest = network_weights
        *matrices, out_weight = [
            masked(weight, fan_in)
            for weight, fan_in in zip((*matrices, out_weight), self.masked_pass.fan_ins, strict=True)
        ]
        return matrices, biases, out_weight, *rest
