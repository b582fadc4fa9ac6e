"""Linear layers of images: convolutions with an inverse, matrices of channels, normalisation."""

from collections.abc import Callable

import jax
import numpy as np

from pushforward.bijections import (
    PLU,
    ActivationNormalisation,
    Chain,
    Elementwise,
    EmergingConvolution,
    Householder,
    MaskedConvolution,
    OneByOne,
    PeriodicConvolution,
    RationalQuadraticSpline,
    Triangular,
)
from pushforward.bijections.convolutional.masks import Mask
from pushforward.core.bijection import AbstractBijection
from zoo.builders import conditional
from zoo.rows import Row

ONE_CHANNEL = "one channel: the factor has no off-diagonal entries"


def convolution_mask(shape: tuple[int, int, int], mask: Mask) -> np.ndarray:
    """Dependence of the outputs of a masked convolution on its inputs: bool (D, D), from the offsets alone."""
    indices = list(np.ndindex(*shape))
    channels = np.tri(shape[2], dtype=bool) if mask.is_lower else np.tri(shape[2], dtype=bool).T
    offsets = set(mask.offsets)
    return np.array(
        [
            [channels[c, b] if (i, j) == (k, m) else (k - i, m - j) in offsets for k, m, b in indices]
            for i, j, c in indices
        ]
    )  # fmt: skip


def transitive_closure(matrix: np.ndarray) -> np.ndarray:
    """Dependence over any number of steps: the pattern of the inverse."""
    for _ in range(len(matrix)):
        matrix = matrix | (matrix.astype(int) @ matrix.astype(int) > 0)
    return matrix


def convolutional_rows() -> list[Row]:
    first, small, middle, large = jax.random.key(5), (2, 3, 1), (4, 4, 2), (8, 8, 3)
    one, other = ("float32",), ("float64",)
    channels: dict[str, Callable[[], AbstractBijection]] = {
        "PLU": lambda: PLU(3, key=first),
        "QR": lambda: Chain([Triangular(3, lower=False), Householder(3, key=first)]),
        "Householder": lambda: Householder(3, key=first),
        "Conditional[PLU]": lambda: conditional(PLU(3)),
        "spline": lambda: Elementwise(RationalQuadraticSpline(n_bins=3), (3,)),  # its log-det depends on the pixel
    }
    quick = {"PLU": other, "QR": one, "Householder": one, "Conditional[PLU]": other, "spline": other}
    rows = [
        Row(f"OneByOne {name}", lambda inner=inner: OneByOne(inner(), (2, 2, 3)),
            "spline" if name == "spline" else "linear",
            spread=0.2, quick=quick[name])
        for name, inner in channels.items()
    ]  # fmt: skip
    rows += [
        Row("ActivationNormalisation", lambda: ActivationNormalisation((2, 3, 2)), "linear", is_identity=True,
            depends=np.eye(12, dtype=bool), quick=one),
        Row("ActivationNormalisation of vectors", lambda: ActivationNormalisation((3,)), "linear", is_identity=True,
            depends=np.eye(3, dtype=bool), quick=other),
    ]  # fmt: skip
    for name, shape, mask, order, when in (
        ("", small, Mask("raster", 3), "pixel", other),
        (" 4x4x2", middle, Mask("raster", 3), "pixel", one),
        (" quarter", (3, 2, 2), Mask("raster", 3, 1), "wavefront", one),
        (" half, 5x5", (2, 4, 1), Mask("raster", 5, 2), "rows", other),
        (" quadrant", (3, 3, 2), Mask("quadrant", 3, 3), "wavefront", other),
        (" quadrant 5x5", middle, Mask("quadrant", 5), "rows", ()),
    ):
        rows.append(
            Row(f"MaskedConvolution{name}",
                lambda shape=shape, mask=mask, order=order: MaskedConvolution(
                    shape, kernel_size=mask.kernel_size, mask=mask.kind, rotation=mask.rotation, order=order),
                "linear", depends=transitive_closure(convolution_mask(shape, mask)), is_identity=True, spread=0.2,
                dead=ONE_CHANNEL if shape[2] == 1 else "", quick=when)
        )  # fmt: skip
    return [
        *rows,
        Row("MaskedConvolution 8x8x3", lambda: MaskedConvolution(large, key=first), "linear", spread=0.1, quick=()),
        Row("EmergingConvolution", lambda: EmergingConvolution(small), "linear", is_identity=True, spread=0.2,
            dead=ONE_CHANNEL, quick=()),
        Row("EmergingConvolution 4x4x2", lambda: EmergingConvolution(middle, mask="quadrant", key=first), "linear",
            spread=0.1, quick=other),
        Row("EmergingConvolution 8x8x3", lambda: EmergingConvolution(large, key=first), "linear", spread=0.05,
            quick=()),
        Row("PeriodicConvolution", lambda: PeriodicConvolution(small), "linear", is_identity=True, spread=0.1,
            quick=other),
        Row("PeriodicConvolution 4x4x2", lambda: PeriodicConvolution(middle, key=first), "linear", spread=0.05,
            quick=one),
        Row("PeriodicConvolution 5x4x1, 7x7", lambda: PeriodicConvolution((5, 4, 1), kernel_size=7), "linear",
            spread=0.03, quick=()),
        Row("PeriodicConvolution 8x8x3", lambda: PeriodicConvolution(large, key=first), "linear", spread=0.05,
            quick=()),
    ]  # fmt: skip
