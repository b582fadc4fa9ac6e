"""Circles, products of circles and lines, and other spaces."""

import numpy as np

import pushforward as pf
from pushforward.bijections import CircularSpline, ConditionalSplit, StickBreaking
from zoo.builders import autoregressive
from zoo.rows import CIRCLE, CONTEXT_DIM, LINE, SIMPLEX, UNIT, Row
from zoo.scalars import TURN

SPACES = {
    "torus": (["circle", "circle"], None, "coupling", CIRCLE, CIRCLE, ("float64",)),
    "cylinder": (["circle", (0.0, 1.0)], CONTEXT_DIM, "coupling", CIRCLE, UNIT, ()),
    "product": (["line", "circle", "circle"], CONTEXT_DIM, "autoregressive", CIRCLE, CIRCLE, ()),
    "line": (["line"], None, "coupling", LINE, LINE, ()),
}


def _space(name: str) -> pf.Flow:
    space, context_dim, kind, *_ = SPACES[name]
    options = {"n_layers": 2, "width": 8, "depth": 1, "n_bins": 3, "activation": "tanh"}
    return pf.space_flow(space, kind=kind, context_dim=context_dim, key=0, **options)


def _split() -> ConditionalSplit:
    mask = np.array([True, False, True, False])
    inner = autoregressive(CircularSpline(3), (1, 0), 3 + CONTEXT_DIM)
    return ConditionalSplit(inner, mask, context_shape=(CONTEXT_DIM,), circular=np.array([1, 1, 1, 0], bool))


def space_rows() -> list[Row]:
    """Flows on spaces, and the layers that serve them alone."""
    depends = np.eye(4, dtype=bool) | (np.array([[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]) > 0)
    rows = [
        Row(
            "ConditionalSplit", _split, "spline", CIRCLE, CIRCLE, float(np.pi), knots=TURN, depends=depends,
            context_reaches=np.array([True, False, True, False]), is_identity=True, quick=("float64",),
        ),
        Row(
            "StickBreaking", lambda: StickBreaking(3), "elementary", LINE, SIMPLEX, 15.0,
            depends=np.tri(3, dtype=bool),
        ),
    ]  # fmt: skip
    for name, (space, _, _, z_side, x_side, quick) in SPACES.items():
        rows.append(
            Row(
                f"space_flow {name}", lambda name=name: _space(name).bijection, "spline", z_side, x_side, 15.0,
                knots=TURN if x_side == CIRCLE else (), is_identity=(0.0, 1.0) not in space, spread=0.08,
                flow=lambda name=name: _space(name), quick=quick,
            )
        )  # fmt: skip
    return rows
