"""Autoregressive layers: orders, contexts, methods and transformers."""

import jax
import numpy as np

from pushforward.bijections import (
    BlockAutoregressive,
    CircularSpline,
    Inverse,
    MaskedAutoregressive,
    RationalQuadraticSpline,
)
from zoo.builders import attention, autoregressive, autoregressive_mask, convolution, on_graph, plain_network
from zoo.rows import CIRCLE, CONTEXT_DIM, Row
from zoo.scalars import BOX, TURN


def autoregressive_rows() -> list[Row]:
    """Orders, contexts, methods and transformers; the grid of sizes is in test_autoregressive.py."""
    spline = RationalQuadraticSpline(4)
    mixed, natural = (1, 2, 0), (0, 1, 2, 3)
    diamond = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], bool)  # 3 -> 1, 2 -> 0
    return [
        Row(
            "MaskedAutoregressive", lambda: autoregressive("affine", mixed, depth=2), "linear",
            depends=autoregressive_mask(mixed), is_identity=True, quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive with context", lambda: autoregressive(spline, natural, CONTEXT_DIM), "spline",
            knots=BOX, depends=autoregressive_mask(natural), is_identity=True, quick=("float32",),
        ),
        Row(
            "MaskedAutoregressive of angles",
            lambda: autoregressive(CircularSpline(4), mixed, CONTEXT_DIM, "sequential"),
            "spline", CIRCLE, CIRCLE, float(np.pi), knots=TURN, depends=autoregressive_mask(mixed), is_identity=True,
            quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive sequential", lambda: autoregressive("affine", mixed, method="sequential"), "linear",
            depends=autoregressive_mask(mixed), is_identity=True, quick=("float32",),
        ),
        Row(
            "MaskedAutoregressive jacobi", lambda: autoregressive("affine", mixed, CONTEXT_DIM, method="jacobi"),
            "linear", depends=autoregressive_mask(mixed), is_identity=True, quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive of a plain network",
            lambda: MaskedAutoregressive("affine", plain_network(mixed), ranks=np.argsort(mixed)), "linear",
            depends=autoregressive_mask(mixed), is_identity=True, quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive residual", lambda: autoregressive("affine", natural, residual=True), "linear",
            depends=autoregressive_mask(natural), is_identity=True, quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive D=1 context", lambda: autoregressive("affine", (0,), CONTEXT_DIM), "linear",
            is_identity=True, dead="one coordinate depends on no other",
        ),
        Row(
            "Inverse[MaskedAutoregressive]",
            lambda: Inverse(autoregressive(spline, natural, CONTEXT_DIM, residual=True)), "spline", knots=BOX,
            depends=autoregressive_mask(natural), is_identity=True, quick=(),
        ),
        Row(
            "MaskedAutoregressive attention", lambda: attention("affine", 4, CONTEXT_DIM), "linear",
            depends=autoregressive_mask(natural), is_identity=True, largest_gradient=1e3, quick=(),
        ),
        Row(
            "MaskedAutoregressive attention tokens", lambda: attention("affine", 3, token_size=2), "linear",
            depends=autoregressive_mask((0, 1, 2), 2), is_identity=True, largest_gradient=1e3, quick=(),
        ),
        Row(
            "MaskedAutoregressive convolution", lambda: convolution("affine", natural, CONTEXT_DIM), "linear",
            depends=autoregressive_mask(natural), is_identity=True, quick=("float64",),
        ),
        Row(
            "Inverse[MaskedAutoregressive] convolution",  # forward is one pass: dependence has a finite reach
            lambda: Inverse(convolution("affine", (3, 1, 0, 2, 6, 5, 4))), "linear",
            depends=autoregressive_mask((3, 1, 0, 2, 6, 5, 4), reach=4), is_identity=True, quick=("float64",),
        ),
        Row(
            "MaskedAutoregressive graph inverted",  # forward is one pass: dependence on parents only
            lambda: Inverse(on_graph(diamond, CONTEXT_DIM)), "linear", depends=diamond | np.eye(4, dtype=bool),
            is_identity=True, quick=("float64",),
        ),
        Row(
            "BlockAutoregressive",
            lambda: BlockAutoregressive(3, n_units=3, depth=2, order=mixed, key=jax.random.key(2)), "root",
            depends=autoregressive_mask(mixed), largest=1e3, quick=(),
        ),
        Row(
            "BlockAutoregressive with context",
            lambda: BlockAutoregressive(2, n_units=3, depth=1, context_dim=CONTEXT_DIM, key=jax.random.key(2)), "root",
            depends=autoregressive_mask((0, 1)), largest=1e3, quick=("float64",),
        ),
    ]  # fmt: skip
