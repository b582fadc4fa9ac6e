"""Couplings of images, and the layers between pixels and an image flow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.bijections import (
    Affine,
    Elementwise,
    ImageCoupling,
    PixelSigmoid,
    RationalQuadraticSpline,
    SplitChannels,
    n_parameters,
    transformer_named,
)
from pushforward.bijections.partitions import channel_wise, checkerboard
from pushforward.core.distribution import AbstractDistribution
from pushforward.networks import ConvNet
from zoo.builders import coupling_mask
from zoo.rows import CONTEXT_DIM, UNIT, Row
from zoo.scalars import BOX


def image_coupling(transformer: Any, shape: tuple[int, int, int], context: int = 0, **options: Any) -> ImageCoupling:
    """A coupling with a small network."""
    is_board, is_swapped = options.get("partition") == "checkerboard", options.get("is_swapped", False)
    first = (shape[2] + 1) // 2
    n_transformed = shape[2] if is_board else shape[2] - first if is_swapped else first
    network = ConvNet(
        shape[2] if is_board else shape[2] - n_transformed,
        n_parameters(transformer_named(transformer)) * n_transformed,
        width=6, depth=1, context_size=context, key=jax.random.key(3),
    )  # fmt: skip
    return ImageCoupling(transformer, network, shape, context_shape=(context,) if context else None, **options)


def image_rows() -> list[Row]:
    odd, board = (2, 2, 3), checkerboard((2, 3, 1))
    return [
        Row(
            "ImageCoupling", lambda: image_coupling("affine", odd), "linear", depends=coupling_mask(channel_wise(odd)),
            is_identity=True, quick=("float32",),
        ),
        Row(
            "ImageCoupling swapped, context", lambda: image_coupling("affine", odd, CONTEXT_DIM, is_swapped=True),
            "linear", depends=coupling_mask(~channel_wise(odd)), context_reaches=~channel_wise(odd), is_identity=True,
            quick=("float64",),
        ),
        Row(
            "ImageCoupling checkerboard",
            lambda: image_coupling(RationalQuadraticSpline(4), (2, 3, 1), CONTEXT_DIM, partition="checkerboard"),
            "spline", knots=BOX, depends=coupling_mask(board), context_reaches=board, is_identity=True,
            quick=("float64",),
        ),
        Row(
            "ImageCoupling checkerboard swapped",
            lambda: image_coupling("affine", (2, 3, 1), partition="checkerboard", is_swapped=True), "linear",
            depends=coupling_mask(~board), is_identity=True, quick=(),
        ),
        Row(
            "PixelSigmoid", lambda: PixelSigmoid((1, 2, 1), levels=1, alpha=0.0), "elementary", x_side=UNIT,
            largest=80.0, largest_gradient=80.0, depends=np.eye(2, dtype=bool), quick=("float64",),
        ),
        Row(
            "SplitChannels", lambda: SplitChannels(Elementwise(Affine(), (1, 2, 1)), 2), "elementary",
            depends=np.eye(4, dtype=bool), is_identity=True,
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class ImageRecipe:
    """A recipe of images and the options with which its rows are built, at two layers of width 8."""

    make: Callable[..., AbstractDistribution]
    options: dict[str, Any]
    quick: tuple[str, ...] = ()
    tolerance: str = "linear"
    largest: float = 1e6  # several couplings in a row multiply large values
    shapes: tuple[tuple[int, int, int], ...] = ((4, 4, 1), (4, 4, 2), (8, 8, 3))


ONE = {"n_scales": 1}  # a second scale of the small images is a single pixel, which has no neighbours
IMAGE_RECIPES: dict[str, ImageRecipe] = {
    "glow": ImageRecipe(pf.glow, {}, ("float64",)),
    "emerging_glow": ImageRecipe(pf.emerging_glow, ONE, ()),
    "periodic_glow": ImageRecipe(pf.periodic_glow, ONE, ()),
    "real_nvp_image": ImageRecipe(pf.real_nvp_image, {"n_layers": 1, **ONE}, ()),
    "residual_flow_image": ImageRecipe(pf.residual_flow_image, {"depth": 1, **ONE}, (), "root", shapes=((2, 2, 1),)),
}


def image_recipe_rows() -> list[Row]:
    rows = []
    for name, r in IMAGE_RECIPES.items():
        small = r.shapes[0]
        for shape, context in ((small, CONTEXT_DIM), *((shape, None) for shape in r.shapes)):

            def flow(
                r: ImageRecipe = r, shape: tuple[int, ...] = shape, context: int | None = context
            ) -> AbstractDistribution:
                return r.make(shape, context_dim=context, key=0, **{"width": 8, "n_layers": 2, **r.options})

            rows.append(
                Row(
                    f"{name} {'x'.join(map(str, shape))}" + (" context" if context else ""),
                    lambda flow=flow: flow().bijection, r.tolerance, flow=flow, spread=0.05, largest=r.largest,
                    quick=r.quick if shape == small and context is None else (),
                )
            )  # fmt: skip
    return rows
