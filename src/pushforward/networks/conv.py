"""The convolutional conditioner of image couplings."""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.activations import Activation, activation_fn, split_activation
from pushforward.networks.initial_weights import normal
from pushforward.networks.network import AbstractNetwork, check_sizes, recomputed_on_cpu
from pushforward.numerics.arrays import zeros
from pushforward.numerics.im2col import convolve


class ConvNet(AbstractNetwork):
    """Convolutions from an image (H, W, C_in) and a context to an image (H, W, C_out), with zero padding.

        h_0 = x,  h_i = act(conv_i(h_{i-1}) + b_i + c C_i),  out = conv(h_depth) + b

    The last layer starts at zero, so that a layer built on the network starts at its transformer's start values. A
    vector context c is added at every pixel; an image context is concatenated to x.

    Args:
        in_shape, out_shape: (H, W, C_in) and (H, W, C_out), or C_in and C_out alone: the weights are the same for every
            height and width.
        width: channels of each hidden layer.
        depth: number of hidden layers, at least 1.
        kernel_sizes: odd sides of the depth + 1 kernels; by default 3 for the first and the last and 1 between.
        context_size: length of a vector context, 0 for none.
        context_channels: channels of an image context (H, W, .), concatenated to those of x; 0 for none.
        activation: a name in `ACTIVATIONS`, an element-wise function, or a module, whose parameters are trained.
        key: for the start weights.

    Cost: 2 H W (sum of k^2 in out) operations.

    Raises:
        ValueError: if a size is not positive, a kernel has an even side, or the activation is unknown.
        ShapeError: if the image or the context does not have the expected shape.

    Reference: Kingma & Dhariwal 2018, section 3.3 and appendix B. Deviation: biases instead of normalisation, no
        scale on the output.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import ConvNet
        >>> network = ConvNet(2, 4, width=8, depth=2, key=jax.random.key(0))
        >>> print(network(jnp.ones((5, 5, 2))).shape)
        (5, 5, 4)
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    contexts: tuple[Float[Array, "..."], ...]
    context_size: int = eqx.field(static=True)
    context_channels: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    trained_activation: eqx.Module | None = None

    def __init__(
        self,
        in_shape: int | Sequence[int],
        out_shape: int | Sequence[int],
        *,
        width: int = 64,
        depth: int = 2,
        kernel_sizes: Sequence[int] | None = None,
        context_size: int = 0,
        context_channels: int = 0,
        activation: Activation = "relu",
        key: PRNGKeyArray,
    ) -> None:
        in_channels, out_channels = _channels(in_shape, out_shape)
        check_sizes(in_channels=in_channels, out_channels=out_channels, width=width, depth=depth)
        kernels = tuple(kernel_sizes) if kernel_sizes is not None else (3, *[1] * (depth - 1), 3)
        if len(kernels) != depth + 1 or any(side < 1 or side % 2 == 0 for side in kernels):
            raise ValueError(f"kernel_sizes: expected {depth + 1} odd sides, one for each layer, got {kernels}.")
        sizes = [in_channels + context_channels, *[width] * depth]
        hidden = [
            normal(jax.random.fold_in(key, i), (side, side, a, b), math.sqrt(2.0 / (side**2 * a)))
            for i, (side, (a, b)) in enumerate(zip(kernels, itertools.pairwise(sizes), strict=False))
        ]
        self.weights = (*hidden, zeros((kernels[-1], kernels[-1], width, out_channels)))
        self.biases = (*(zeros(width) for _ in range(depth)), zeros(out_channels))
        self.contexts = tuple(
            normal(jax.random.fold_in(key, 1000 + i), (context_size, width), 1.0 / math.sqrt(context_size))
            for i in range(depth if context_size else 0)
        )
        self.activation, self.trained_activation = split_activation(activation)
        self.context_size, self.context_channels = context_size, context_channels

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)
        if self.context_size and self.context_channels:
            raise ValueError(
                "context_size, context_channels: expected a vector or an image as the context, got both. Embed one in "
                "the other first."
            )

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "H W C"]:
        return recomputed_on_cpu(type(self)._evaluate)(self, self._with_context(x, context), context)

    def _evaluate(self, hidden: Array, context: Array | None) -> Float[Array, "H W C"]:
        act = activation_fn(self.activation, self.trained_activation)
        for index, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            if self.context_size and context is not None:  # `_with_context` checks both
                bias = bias + context @ self.contexts[index]
            hidden = act(convolve(hidden, weight) + bias[None, None])
        return convolve(hidden, self.weights[-1]) + self.biases[-1][None, None]

    def _with_context(self, x: Array, context: Array | None) -> Float[Array, "H W C"]:
        """x with the channels of an image context appended; checks all shapes."""
        channels = self.weights[0].shape[2] - self.context_channels
        if x.ndim != 3 or x.shape[2] != channels:
            raise ShapeError(f"x: the network expects an image of shape (H, W, {channels}), got {x.shape}.")
        if not (self.context_size or self.context_channels):
            return x
        expected = (*x.shape[:2], self.context_channels) if self.context_channels else (self.context_size,)
        if context is None or context.shape != expected:
            got = "none" if context is None else f"shape {context.shape}"
            raise ShapeError(f"context: the network expects shape {expected}, got {got}. Pass context=.")
        return jnp.concatenate([x, context], -1) if self.context_channels else x


def _channels(in_shape: int | Sequence[int], out_shape: int | Sequence[int]) -> tuple[int, int]:
    """The channels of two shapes, each an image's or the number of channels alone."""
    shapes = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in (in_shape, out_shape)]
    if any(len(shape) not in (1, 3) for shape in shapes) or (len(set(shapes)) == 2 and _sides_differ(*shapes)):
        raise ShapeError(
            f"in_shape, out_shape: expected (H, W, C) with the same H and W, or C, got {in_shape} and {out_shape}."
        )
    return shapes[0][-1], shapes[1][-1]


def _sides_differ(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> bool:
    return len(in_shape) == len(out_shape) == 3 and in_shape[:2] != out_shape[:2]
