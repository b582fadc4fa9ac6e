"""Bijections of FlowJAX as bijections of the library; no rows where FlowJAX is not installed.

Points at which derivatives of FlowJAX's formulas fail are left out: at the edges of its spline's box autodiff gives a
quarter of the slope on both sides, and the inverse of `LeakyTanh` has a gradient of NaN at 1. Its
`MaskedAutoregressive` does not run in float32 under x64; tests/flowjax tests it.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from zoo.builders import coupling_mask
from zoo.rows import CONTEXT_DIM, LINE, OPEN, POSITIVE, Row


def flowjax_rows() -> list[Row]:
    if importlib.util.find_spec("flowjax") is None:
        return []
    import flowjax.bijections as theirs

    from pushforward.flowjax import FlowJAXBijection

    key, ones = jax.random.key(4), jnp.ones(3)
    second = np.array([False, True, True])

    def coupling() -> Any:
        sizes = {"untransformed_dim": 1, "dim": 3, "cond_dim": CONTEXT_DIM, "nn_width": 6, "nn_depth": 1}
        return theirs.Coupling(key, transformer=theirs.Affine(), **sizes)

    def row(name: str, build: Callable[[], Any], tolerance: str, *sides: str, **known: Any) -> Row:
        known = {"largest": 1e3, "quick": (), **known}
        return Row(f"FlowJAX {name}", lambda: FlowJAXBijection(build()), tolerance, *sides, is_stored=False, **known)

    return [
        row("Affine", lambda: theirs.Affine(ones, 2 * ones), "linear", depends=np.eye(3, dtype=bool)),
        row("TriangularAffine", lambda: theirs.TriangularAffine(ones, jnp.eye(3) + 0.5), "linear",
            depends=np.tri(3, dtype=bool)),
        row("Householder", lambda: theirs.Householder(jnp.arange(1.0, 4.0)), "linear"),
        row("Permute", lambda: theirs.Permute(jnp.array([2, 0, 1])), "exact"),
        row("Tanh", lambda: theirs.Tanh((3,)), "elementary", LINE, OPEN, largest=10.0, depends=np.eye(3, dtype=bool)),
        row("SoftPlus", lambda: theirs.SoftPlus((3,)), "elementary", LINE, POSITIVE, largest=30.0),
        row("RationalQuadraticSpline", lambda: theirs.RationalQuadraticSpline(knots=4, interval=3), "spline",
            is_identity=True),
        row("Coupling", coupling, "linear", largest=10.0, depends=coupling_mask(second), context_reaches=second,
            quick=("float64",)),
        row("Planar", lambda: theirs.Planar(key, dim=3, negative_slope=0.1), "linear"),
        row("Scan", lambda: theirs.Scan(eqx.filter_vmap(theirs.Affine)(jnp.ones((2, 3)))), "linear"),
        row("Invert of Chain", lambda: theirs.Invert(theirs.Chain([theirs.Flip((3,)), theirs.Affine(ones)])), "linear"),
    ]  # fmt: skip
