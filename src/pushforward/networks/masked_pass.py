"""A masked perceptron evaluated all at once, without most of the products that its masks make zero.

With inputs in order and hidden units sorted by degree, output o of a layer sees its first `seen[o]` inputs and no
others, and `seen` does not decrease: every matrix is lower triangular in blocks. It is cut into a few panels of rows,
and each panel is multiplied only with the inputs that its last row sees; n panels save (n - 1) / 2n of the work.
"""

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_INPUTS_OF_A_PANEL = 64
_MOST_PANELS = 4


class MaskedPass:
    """The pass as a function of (data, weights), ready for `numerics.trailing_batch`.

    Args:
        seen: for every hidden layer and the output, how many of its inputs each of its rows sees.
        activation: of the hidden units.
        residual: whether the layers after the first form pairs with skips.
    """

    def __init__(self, seen: Sequence[np.ndarray], activation: Callable[[Array], Array], residual: bool) -> None:
        self.seen, self.activation, self.residual = seen, activation, residual

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> Array:
        """Parameters (P, D, ...). Arguments as for `run`."""
        return self.run(data, weights)[0]

    def run(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, list[Array]]:
        """Parameters (P, D, ...), and what each hidden layer's activation is applied to.

        Args:
            data: (x,) or (x, context), x in order, each with or without a trailing batch axis.
            weights: matrices (out, in), biases, output weight (P, D, W) and bias (P, D), context weights (of each layer
                and of the output, or none).
        """
        matrices, biases, out_weight, out_bias, context_weights = weights
        value, given = data[0], data[1:]
        stream, inner = None, []
        for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            value = triangular_product(matrix, value, self.seen[index]) + _column(bias, value)
            for context in given:
                value = value + context_weights[index].T @ context
            value, stream = self.joined(index, value, stream)
            inner.append(value)
            value = self.activation(value)
        out = triangular_product(out_weight, value, self.seen[-1]) + _column(out_bias, value)
        for context in given:
            out = out + jnp.tensordot(context_weights[-1], context, 1)
        return out, inner

    def joined(self, index: int, value: Array, stream: Array | None) -> tuple[Array, Array | None]:
        """A layer's value with the stream of skips in it where one ends, and the stream."""
        if not self.residual or index % 2:
            return value, stream
        stream = value if stream is None else stream + value
        return stream, stream


def triangular_product(weight: Array, value: Array, seen: np.ndarray) -> Array:
    """The product of a matrix with its mask and a vector: row o takes the first `seen[o]` entries.

    Args:
        weight: (..., R, C).
        value: (C, ...).
        seen: (R,), not decreasing.

    Returns:
        (..., R, ...).

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.networks.masked_pass import triangular_product
        >>> print(triangular_product(jnp.ones((3, 2)), jnp.array([1.0, 10.0]), np.array([0, 1, 2])))
        [ 0.  1. 11.]
    """
    panels = []
    for first, last in itertools.pairwise(_cuts(seen, weight.shape[-1])):
        n_seen = int(seen[last - 1])
        if n_seen:
            panel = masked(weight[..., first:last, :n_seen], seen[first:last])
            panels.append(jnp.tensordot(panel, value[:n_seen], 1))
        else:
            panels.append(jnp.zeros((*weight.shape[:-2], last - first, *value.shape[1:]), value.dtype))
    return panels[0] if len(panels) == 1 else jnp.concatenate(panels, weight.ndim - 2)


def masked(weight: Array, seen: np.ndarray) -> Array:
    """The matrix (..., R, C) with what row o does not see set to zero: all after its first `seen[o]` entries."""
    kept = np.arange(weight.shape[-1]) < seen.reshape(*[1] * (weight.ndim - 2), -1, 1)
    return weight if kept.all() else weight * kept


def _cuts(seen: np.ndarray, n_inputs: int) -> list[int]:
    """Rows at which panels begin and end: rows that see nothing by themselves, none that sees no more than the last."""
    n_panels = min(max(n_inputs // _INPUTS_OF_A_PANEL, 1), _MOST_PANELS)
    blind = int(np.searchsorted(seen, 0, side="right"))
    ends = {blind, *np.linspace(blind, len(seen), n_panels + 1).round().astype(int).tolist()} - {0}
    # of panels that see the same inputs one is made
    ends = {max(end for end in ends if seen[end - 1] == seen[last - 1]) for last in ends}
    return [0, *sorted(ends)]


def _column(bias: Array, value: Array) -> Array:
    """A bias as `value` has its batch axis: with a trailing axis of one, or without."""
    return bias.reshape(bias.shape + (1,) * (value.ndim - 1))
