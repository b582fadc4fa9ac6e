"""A Lipschitz-bounded convolutional network: the network of residual flows on images.

A zero-padded convolution of an (H, W) image is a part of the circular convolution on a torus of (H + k - 1, W + k - 1):
embed the image in the torus, convolve, crop. Its norm is at most the norm on the torus, where the Fourier transform
gives one small matrix (channels in, channels out) for each frequency. The bound is the greatest singular value of these
matrices: exact on the torus, and a few per cent above the norm on the image. Training estimates the same number by
power iteration at every frequency. One vector for all frequencies is not enough: a convolution does not mix
frequencies, so a vector that has converged to one of them does not follow the norm of another.

Reference: Sedghi, Gupta & Long 2019 (singular values on the torus).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.fields import frozen
from pushforward.networks.induced_norms import rounding_bound, vector_norm
from pushforward.networks.initial_weights import normal
from pushforward.networks.lipschitz import (
    AbstractLipschitzLayer,
    AbstractLipschitzStack,
    check_coefficient,
    check_same_shape,
    context_matrices,
    start_slopes,
)
from pushforward.networks.network import check_sizes
from pushforward.numerics.arrays import zeros
from pushforward.numerics.im2col import convolve

_POWER_STEPS = 2


class LipschitzConv(AbstractLipschitzLayer):
    """A zero-padded convolution (H, W, in) -> (H, W, out) of stride one, with Lipschitz constant at most c.

    Args:
        shape: (H, W).
        in_channels, out_channels: numbers of channels.
        kernel_size: k, odd.
        coefficient: c, in (0, 1).
        key: for the start weights.

    Cost: 2 H W k^2 in out operations; once a batch, (H + k)(W + k) / 2 frequencies times (4 k^2 + 8) in out for the
        norm. `finalise` computes the SVD of as many matrices (in, out).

    Raises:
        ValueError: if a size is not positive, the kernel even, or the coefficient outside (0, 1).

    Reference: Sedghi, Gupta & Long 2019; Gouk, Frank, Pfahringer & Cree 2021 (power iteration of a convolution).
        Deviation: both on the torus that contains the image, so that training and certificate agree.

    Example:
        >>> import jax
        >>> from pushforward.networks import LipschitzConv
        >>> layer = LipschitzConv((4, 4), 1, 2, kernel_size=3, coefficient=0.5, key=jax.random.key(0))
        >>> print(bool(layer.certified() < 0.5001))
        True
    """

    weight: Float[Array, "..."]
    bias: Float[Array, "..."]
    left: Float[Array, "..."] = frozen()
    right: Float[Array, "..."] = frozen()
    shape: tuple[int, int] = eqx.field(static=True)
    coefficient: float = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        coefficient: float,
        key: PRNGKeyArray,
    ) -> None:
        sizes = {"height": shape[0], "width": shape[1], "in_channels": in_channels, "out_channels": out_channels}
        check_sizes(**sizes, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, so that a kernel has a centre, got {kernel_size}.")
        kernel = (kernel_size, kernel_size, in_channels, out_channels)
        self.weight, self.bias = normal(key, kernel, 1 / (kernel_size * math.sqrt(in_channels))), zeros(out_channels)
        self.shape, self.coefficient = tuple(shape), float(coefficient)
        self.left, self.right = self.leading(self.weight)

    def __check_init__(self) -> None:
        check_coefficient("coefficient", self.coefficient)

    def __call__(self, x: Array) -> Float[Array, "..."]:
        return convolve(x, self.scaled()) + self.bias[None, None]

    def norm(self) -> Float[Array, ""]:
        # `refresh` updates the vectors between steps; they are constants here.
        left, right = jax.lax.stop_gradient((self.left, self.right))
        return jnp.max(jnp.sum(left * _apply_matrices(right, *self._parts(self.weight)), (1, 2)))

    def certified_norm(self, weight: Array) -> Float[Array, ""]:
        singular_values = _array_module(weight).linalg.svd(self._frequencies(weight), compute_uv=False)
        side, _, *channels = weight.shape
        return jnp.max(jnp.asarray(singular_values)) * (1 + rounding_bound(weight, side**2 * max(channels)))

    def leading(self, weight: Array) -> tuple[Array, Array]:
        xp = _array_module(weight)
        inputs, _, outputs = xp.linalg.svd(self._frequencies(weight), full_matrices=False)

        def parts(vectors: Any) -> Array:
            return jnp.asarray(xp.stack([vectors.real, vectors.imag], 1), weight.dtype)

        return parts(outputs[:, 0]), parts(inputs[:, :, 0].conj())

    def refreshed(self) -> "LipschitzConv":
        parts = self._parts(self.weight)

        def step(_: Any, right: Array) -> Array:
            return _normalise(_apply_adjoints(_normalise(_apply_matrices(right, *parts)), *parts))

        right = jax.lax.fori_loop(0, _POWER_STEPS, step, self.right)
        left = _normalise(_apply_matrices(right, *parts))
        return eqx.tree_at(lambda layer: (layer.left, layer.right), self, (left, right))

    def _torus(self, weight: Array) -> tuple[int, int]:
        """Height and width of the torus; (1, 1) for a kernel of one, whose matrix is the same at every frequency."""
        side = weight.shape[0]
        return (1, 1) if side == 1 else (self.shape[0] + side - 1, self.shape[1] + side - 1)

    def _frequencies(self, weight: Array) -> Any:
        """The complex matrices (F, in, out) of half the frequencies; the others are their conjugates."""
        real, imaginary = self._parts(weight)
        return real + 1j * imaginary

    def _parts(self, weight: Array) -> tuple[Any, Any]:
        """Real and imaginary parts of the matrices of half the frequencies, each by one matrix product.

        A kernel has few elements, and XLA's FFT on the CPU can deadlock inside a program with loops.
        """
        xp, (rows, columns), (side, _, n_in, n_out) = _array_module(weight), self._torus(weight), weight.shape
        phase = np.arange(rows)[:, None, None, None] * np.arange(side)[:, None] / rows  # (rows, 1, side, 1)
        phase = phase + np.arange(columns // 2 + 1)[:, None, None] * np.arange(side) / columns
        phase = -2 * np.pi * phase.reshape(-1, side**2)
        flat = xp.asarray(weight).reshape(side**2, -1)
        cosine, sine = (xp.asarray(part, flat.dtype) @ flat for part in (np.cos(phase), np.sin(phase)))
        return cosine.reshape(-1, n_in, n_out), sine.reshape(-1, n_in, n_out)


class LipschitzConvNet(AbstractLipschitzStack):
    """Convolutions from an image (H, W, C) to one of the same shape, with Lipschitz constant at most `lipschitz`.

        h_0 = x,  h_i = act(conv_i(h_{i-1}) + c C_i),  out = conv(h_depth) + c C

    Distances are 2-norms over all entries. The context shifts the channels through unbounded matrices, which do not
    change the Lipschitz constant in x.

    Args:
        in_shape: (H, W, C).
        out_shape: the same shape, which is the default.
        width: channels of each hidden layer.
        depth: number of hidden layers, at least 1.
        lipschitz: bound of the network, in (0, 1).
        kernel_sizes: depth + 1 of them; by default 3 for the first and the last and 1 between.
        context_size: length of the context, 0 for none.
        activation: as for `LipschitzMLP`.
        key: for the start weights.

    Cost: 2 H W (sum of k^2 in out) operations; once a batch, the norms of the layers (see `LipschitzConv`).

    Raises:
        ValueError: if a size is not positive, the bound outside (0, 1), or a name unknown.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, section 2.1; Chen, Behrmann, Duvenaud & Jacobsen
        2019. Deviation: certified on the torus.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import LipschitzConvNet
        >>> network = LipschitzConvNet((4, 4, 2), width=8, depth=1, lipschitz=0.9, key=jax.random.key(0))
        >>> print(network(jnp.ones((4, 4, 2))).shape, bool(network.bound < 0.9001))
        (4, 4, 2) True
    """

    layers: tuple[LipschitzConv, ...]
    contexts: tuple[Float[Array, "..."], ...]
    slopes: Float[Array, "..."] | None
    bound: Float[Array, "..."] = frozen()
    lipschitz: float = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        out_shape: tuple[int, ...] | None = None,
        *,
        width: int = 64,
        depth: int = 2,
        lipschitz: float = 0.98,
        kernel_sizes: Sequence[int] | None = None,
        context_size: int = 0,
        activation: str = "lipswish",
        key: PRNGKeyArray,
    ) -> None:
        if len(in_shape) != 3:
            raise ValueError(f"in_shape: expected (height, width, channels), got {in_shape}.")
        check_same_shape(in_shape, out_shape)
        height, columns, channels = in_shape
        check_sizes(height=height, width=columns, channels=channels, hidden_channels=width, depth=depth)
        check_coefficient("lipschitz", lipschitz)
        kernels = tuple(kernel_sizes) if kernel_sizes is not None else (3, *[1] * (depth - 1), 3)
        if len(kernels) != depth + 1:
            raise ValueError(f"kernel_sizes: expected {depth + 1} sizes, one for each layer, got {kernels}.")
        sizes, share = [channels, *[width] * depth, channels], lipschitz ** (1 / (depth + 1))
        self.layers = tuple(
            LipschitzConv(
                (height, columns), a, b, kernel_size=kernel, coefficient=share, key=jax.random.fold_in(key, i)
            )
            for i, ((a, b), kernel) in enumerate(zip(itertools.pairwise(sizes), kernels, strict=True))
        )
        self.contexts = context_matrices(context_size, sizes[1:], key)
        self.slopes = start_slopes(activation, depth)
        self.lipschitz, self.activation = float(lipschitz), activation
        self.bound = self.certified()

    @property
    def norm(self) -> float:
        return 2.0

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.layers[0].shape, self.layers[0].weight.shape[-2])


def _apply_matrices(right: Array, real: Any, imaginary: Any) -> Array:
    """Products of vectors (F, 2, in), real and imaginary parts, with the matrices of the frequencies: (F, 2, out)."""
    by_real, by_imaginary = (jnp.einsum("fpi,fio->fpo", right, part) for part in (real, imaginary))
    return jnp.stack([by_real[:, 0] - by_imaginary[:, 1], by_imaginary[:, 0] + by_real[:, 1]], 1)


def _apply_adjoints(left: Array, real: Any, imaginary: Any) -> Array:
    """The adjoint of `_apply_matrices`: vectors (F, 2, out) to (F, 2, in)."""
    by_real, by_imaginary = (jnp.einsum("fpo,fio->fpi", left, part) for part in (real, imaginary))
    return jnp.stack([by_real[:, 0] + by_imaginary[:, 1], by_real[:, 1] - by_imaginary[:, 0]], 1)


def _normalise(vectors: Array) -> Array:
    """Each vector (F, 2, n) scaled to length one; zero stays zero."""
    length = vector_norm(vectors.reshape(vectors.shape[0], -1), 2.0, axis=1)
    return vectors / jnp.where(length > 0, length, 1)[:, None, None]


def _array_module(weight: Array) -> Any:
    """NumPy if the weight is concrete, so that nothing is compiled; else jax.numpy."""
    return jnp if isinstance(weight, jax.core.Tracer) else np
