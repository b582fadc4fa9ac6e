"""The parallel pass of a masked perceptron, without most of the products that its masks make zero.

With sorted inputs and hidden units sorted by degree, row o of a layer depends on its first `fan_in[o]` inputs only, and
`fan_in` is non-decreasing: every matrix is block lower triangular. It is cut into a few panels of rows, and each panel
is multiplied only with the inputs of its last row; n panels save (n - 1) / 2n of the work.
"""

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_INPUTS_PER_PANEL = 64
_MAX_PANELS = 4
_SMALL = 1024  # elements of a matrix that is multiplied in one panel


class MaskedPass:
    """The parallel pass as a function of (data, weights), for `numerics.trailing_batch`.

    Args:
        fan_ins: for every hidden layer and the output, the number of inputs of each of its rows.
        activation: of the hidden units.
        residual: whether the layers after the first form residual blocks of two.
    """

    def __init__(self, fan_ins: Sequence[np.ndarray], activation: Callable[[Array], Array], residual: bool) -> None:
        self.fan_ins, self.activation, self.residual = fan_ins, activation, residual

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> Array:
        """Parameters (P, D, ...). Arguments as for `run`."""
        return self.run(data, weights)[0]

    def run(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, list[Array]]:
        """Parameters (P, D, ...), and the pre-activations of each hidden layer.

        Args:
            data: (x,) or (x, context), x sorted by order, each with or without a trailing batch axis.
            weights: matrices (out, in), biases, output weight (P, D, W) and bias (P, D), context weights (of each layer
                and of the output, or none).
        """
        matrices, biases, out_weight, out_bias, context_weights = weights
        value, contexts = data[0], data[1:]
        skip, pre_activations = None, []
        for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            value = triangular_product(matrix, value, self.fan_ins[index]) + _column(bias, value)
            for context in contexts:
                value = value + context_weights[index].T @ context
            value, skip = self.add_skip(index, value, skip)
            pre_activations.append(value)
            value = self.activation(value)
        out = triangular_product(out_weight, value, self.fan_ins[-1]) + _column(out_bias, value)
        for context in contexts:
            out = out + jnp.tensordot(context_weights[-1], context, 1)
        return out, pre_activations

    def add_skip(self, index: int, value: Array, skip: Array | None) -> tuple[Array, Array | None]:
        """A layer's pre-activation, plus the skip connection where a residual block ends, and the next skip."""
        if not self.residual or index % 2:
            return value, skip
        skip = value if skip is None else skip + value
        return skip, skip


def triangular_product(weight: Array, value: Array, fan_in: np.ndarray) -> Array:
    """The product of a masked matrix and a vector: row o uses the first `fan_in[o]` entries.

    Args:
        weight: (..., R, C).
        value: (C, ...).
        fan_in: (R,), non-decreasing.

    Returns:
        (..., R, ...).

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.networks.masked_pass import triangular_product
        >>> print(triangular_product(jnp.ones((3, 2)), jnp.array([1.0, 10.0]), np.array([0, 1, 2])))
        [ 0.  1. 11.]
    """
    panels = []
    # To join panels of a small product costs more than to compute rows that have no inputs.
    edges = [0, len(fan_in)] if weight.size <= _SMALL else _panel_edges(fan_in, weight.shape[-1])
    for first, last in itertools.pairwise(edges):
        n_inputs = int(fan_in[last - 1])
        if n_inputs:
            panels.append(_panel_product(weight[..., first:last, :n_inputs], value[:n_inputs], fan_in[first:last]))
        else:
            panels.append(jnp.zeros((*weight.shape[:-2], last - first, *value.shape[1:]), value.dtype))
    return panels[0] if len(panels) == 1 else jnp.concatenate(panels, weight.ndim - 2)


def _panel_product(weight: Array, value: Array, fan_in: np.ndarray) -> Array:
    """The product of a panel; where its rows have all inputs or none, the result is masked, not the matrix."""
    if not np.isin(fan_in, (0, weight.shape[-1])).all():
        return jnp.tensordot(masked(weight, fan_in), value, 1)
    product = jnp.tensordot(weight, value, 1)
    rows = (fan_in > 0).reshape(-1, *[1] * (value.ndim - 1))
    return product if rows.all() else jnp.where(rows, product, 0)


def masked(weight: Array, fan_in: np.ndarray) -> Array:
    """The matrix (..., R, C) with the entries of row o after the first `fan_in[o]` set to zero."""
    mask = np.arange(weight.shape[-1]) < fan_in.reshape(*[1] * (weight.ndim - 2), -1, 1)
    return weight if mask.all() else weight * mask


def _panel_edges(fan_in: np.ndarray, n_inputs: int) -> list[int]:
    """The rows at which panels begin and end. Rows without inputs form one panel; panels differ in their fan-in."""
    n_panels = min(max(n_inputs // _INPUTS_PER_PANEL, 1), _MAX_PANELS)
    n_empty = int(np.searchsorted(fan_in, 0, side="right"))
    ends = {n_empty, *np.linspace(n_empty, len(fan_in), n_panels + 1).round().astype(int).tolist()} - {0}
    # merge panels with the same inputs
    ends = {max(end for end in ends if fan_in[end - 1] == fan_in[last - 1]) for last in ends}
    return [0, *sorted(ends)]


def _column(bias: Array, value: Array) -> Array:
    """A bias with a trailing axis of one if `value` has a batch axis."""
    return bias.reshape(bias.shape + (1,) * (value.ndim - 1))
