"""Layers of every other kind."""

import jax
import numpy as np

from pushforward.bijections import (
    PLU,
    Affine,
    Chain,
    ColumnMaps,
    Elementwise,
    Exp,
    Inverse,
    Permutation,
    RationalQuadraticSpline,
    Repeat,
    Reshape,
    Sigmoid,
    Split,
    Squeeze,
    Standardise,
    alternating,
    checkerboard,
    halves,
)
from zoo.builders import conditional, coupling, coupling_mask, equinox_coupling
from zoo.rows import CONTEXT_DIM, LINE, POSITIVE, UNIT, Row
from zoo.scalars import BOX


def _compressed() -> Standardise:
    return Standardise((3,), compress=True).filled(np.array([1.0, -2.0, 3.0]), np.array([0.5, 2.0, 1.0]))


def _standardise() -> Standardise:
    return Standardise((3,)).filled(np.array([1.0, -2.0, 1e3]), np.array([0.5, 2.0, 30.0]))


def layer_rows() -> list[Row]:
    affine, spline = Affine, RationalQuadraticSpline
    board = checkerboard((2, 2, 1))
    multiscale = Split(Split(Elementwise(affine(), (1,)), [1], (2,)), [2, 0], (3,))
    return [
        Row("Inverse[Exp]", lambda: Inverse(Exp()), "elementary", POSITIVE, LINE, 80.0, 80.0),
        Row("Inverse[Sigmoid]", lambda: Inverse(Sigmoid()), "elementary", UNIT, LINE, 80.0, 80.0),
        Row("Inverse[RationalQuadraticSpline]", lambda: Inverse(spline()), "spline", knots=BOX, spread=1.0,
            quick=()),
        Row("Inverse[Coupling]", lambda: Inverse(coupling(affine(), halves(3))), "linear", is_identity=True),
        Row(
            "Chain", lambda: Chain([PLU(3, key=jax.random.key(1)), coupling(affine(), alternating(3))]), "linear",
            quick=("float64",),
        ),
        Row("Chain[scalars]", lambda: Chain([affine(0.5), spline(4), Exp()]), "spline", LINE, POSITIVE, 15.0,
            quick=()),
        Row(
            "Coupling with context", lambda: coupling(affine(), halves(3), CONTEXT_DIM), "linear",
            depends=coupling_mask(halves(3)), context_reaches=halves(3), is_identity=True,
        ),
        Row(
            "Coupling of an Equinox network", lambda: equinox_coupling(affine(), halves(3), CONTEXT_DIM), "linear",
            depends=coupling_mask(halves(3)), context_reaches=halves(3), quick=("float32",),
        ),
        Row(
            "Coupling[Chain]", lambda: coupling(Chain([affine(), spline(4)]), halves(3)), "spline", knots=BOX,
            depends=coupling_mask(halves(3)), is_identity=True, quick=()),
        Row(
            "Coupling[Inverse]", lambda: coupling(Inverse(spline(4)), halves(2)), "spline", knots=BOX,
            depends=coupling_mask(halves(2)), is_identity=True, quick=()),
        Row(
            "Coupling of images", lambda: coupling(affine(), board), "linear", depends=coupling_mask(board),
            is_identity=True,
        ),
        Row(
            "Conditional[Elementwise]", lambda: conditional(Elementwise(spline(4), (3,))), "spline", knots=BOX,
            depends=np.eye(3, dtype=bool), is_identity=True, quick=()),
        Row("Conditional[PLU]", lambda: conditional(PLU(3)), "linear", is_identity=True, spread=0.2,
            quick=("float64",)),
        Row(
            "Repeat", lambda: Repeat([coupling(spline(4), m) for m in (halves(2), ~halves(2))]), "spline",
            knots=BOX, is_identity=True, quick=("float32",)),
        Row(
            "Repeat[Chain]",
            lambda: Repeat([Chain([PLU(2, key=jax.random.key(i)), coupling(affine(), halves(2))]) for i in range(2)]),
            "linear", quick=("float64",)),
        Row(
            "ColumnMaps[real, heavy]",
            lambda: ColumnMaps(("real", "heavy"), centre=1.0, scale=2.0, index=np.array([[0.1, 0.1], [0.3, 0.5]])),
            "elementary", largest=10.0, depends=np.eye(2, dtype=bool)),
        Row(
            "ColumnMaps[positive]", lambda: ColumnMaps(("positive", "positive")), "elementary", LINE, POSITIVE, 80.0,
            depends=np.eye(2, dtype=bool)),
        Row(
            "ColumnMaps[bounded]", lambda: ColumnMaps(("bounded", "bounded")), "elementary", LINE, UNIT, 15.0,
            depends=np.eye(2, dtype=bool)),
        Row(
            "ColumnMaps[softplus]", lambda: ColumnMaps(("softplus",), scale=2.0), "elementary", LINE, POSITIVE, 1e3),
        Row(
            "ColumnMaps[circular]", lambda: ColumnMaps(("circular",), centre=0.3), "elementary", LINE, UNIT, 10.0),
        Row(
            "ColumnMaps[cells]",
            lambda: ColumnMaps(("cells",), cells=[([0.0, 0.3, 0.4, 1.0], [0.0, 0.5, 0.1, 0.4, 0.0])]),
            "elementary", LINE, UNIT, 4.0),
        Row(
            "ColumnMaps[cells, cells]",
            lambda: ColumnMaps(("cells", "cells"), cells=[
                ([-1.0, 0.0, 2.0], [0.1, 0.6, 0.2, 0.1]), ([-2.0, -1.0, 1.0, 1.5], [0.2, 0.3, 0.1, 0.2, 0.2]),
            ]),
            "elementary", largest=10.0, depends=np.eye(2, dtype=bool)),
        Row("Reshape", lambda: Reshape(coupling(affine(), halves(4)), (2, 2)), "linear", is_identity=True),
        Row("Squeeze", lambda: Squeeze(coupling(affine(), np.arange(4).reshape(1, 1, 4) < 2)), "linear",
            is_identity=True),
        Row(
            "Split", lambda: Split(coupling(affine(), halves(2)), [2, 0], (3,)), "linear", is_identity=True,
            depends=np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]], bool),
        ),
        Row("Split[Split]", lambda: multiscale, "elementary", depends=np.eye(3, dtype=bool), is_identity=True),
        Row("Standardise", _standardise, "linear", depends=np.eye(3, dtype=bool)),
        Row(
            "Standardise compressed", _compressed, "linear", largest=100.0, knots=(5.0,),
            depends=np.eye(3, dtype=bool), quick=("float64",),
        ),
        Row("Permutation", lambda: Permutation([2, 0, 1]), "exact", depends=np.eye(3, dtype=bool)[[2, 0, 1]]),
        Row("PLU", lambda: PLU(4, key=jax.random.key(5)), "linear"),
        Row("PLU D=1", lambda: PLU(1), "linear", is_identity=True, dead="one coordinate has no off-diagonal entries"),
    ]  # fmt: skip
