"""Recipes, and the options with which their rows are built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import pushforward as pf
from pushforward.core.distribution import AbstractDistribution
from zoo.rows import BOTH, CONTEXT_DIM, Row
from zoo.scalars import BOX

ALONE = "one coordinate depends on no other"
REFLECTED = "a reflection of one coordinate is a sign"


@dataclass(frozen=True)
class Recipe:
    """A recipe with the options of its rows: two layers of width 8."""

    make: Callable[..., AbstractDistribution]
    tolerance: str
    options: dict[str, Any]
    knots: tuple[float, ...] = ()
    is_identity: bool = True
    is_elementwise: bool = False
    largest: float = 1e30
    quick: tuple[str, ...] = BOTH
    dead_in_1: str = ""  # why some leaf has no influence at D=1


RECIPES: dict[str, Recipe] = {
    "elementwise_flow": Recipe(pf.elementwise_flow, "spline", {"n_layers": 2}, BOX, is_elementwise=True, quick=()),
    "linear_flow": Recipe(pf.linear_flow, "linear", {}, quick=("float64",)),
    "linear_flow plu": Recipe(pf.linear_flow, "linear", {"kind": "plu"}, is_identity=False, quick=()),
    "linear_flow qr": Recipe(pf.linear_flow, "linear", {"kind": "qr"}, quick=()),
    "linear_flow orthogonal": Recipe(pf.linear_flow, "linear", {"kind": "orthogonal"}, quick=()),
    "linear_flow cayley": Recipe(pf.linear_flow, "linear", {"kind": "cayley"}, quick=()),
    "linear_flow low_rank": Recipe(pf.linear_flow, "linear", {"kind": "low_rank"}, is_identity=False, quick=()),
    "linear_flow matrix_exponential": Recipe(pf.linear_flow, "linear", {"kind": "matrix_exponential"}, quick=()),
    "linear_flow dense": Recipe(pf.linear_flow, "linear", {"kind": "dense"}, quick=()),
    "linear_flow diagonal": Recipe(pf.linear_flow, "linear", {"kind": "diagonal"}, quick=(), is_elementwise=True),
    "gaussianization_flow": Recipe(
        pf.gaussianization_flow, "spline", {"n_layers": 2}, BOX, is_identity=False, quick=("float64",)
    ),
    "nsf whiten": Recipe(pf.nsf, "spline", {"n_layers": 2, "n_bins": 4, "whiten": True}, BOX, quick=()),
    "nice": Recipe(pf.nice, "linear", {"n_layers": 2}, quick=("float64",)),
    "real_nvp": Recipe(pf.real_nvp, "linear", {"n_layers": 2}, quick=()),
    "nsf": Recipe(pf.nsf, "spline", {"n_layers": 2, "n_bins": 4}, BOX, quick=("float32",)),
    "nsf lu": Recipe(pf.nsf, "spline", {"n_layers": 2, "n_bins": 4, "mixing": "lu"}, BOX, is_identity=False, quick=()),
    "nsf residual": Recipe(
        pf.nsf,
        "spline",
        {"n_layers": 2, "n_bins": 4, "residual": True, "dropout": 0.2, "depth": 1},
        BOX,
        quick=(),
    ),
    "made": Recipe(pf.made, "linear", {}, quick=(), dead_in_1=ALONE),  # a maf of one layer
    "made_mog": Recipe(
        pf.made_mog,
        "root",
        {"n_components": 3},
        is_identity=False,
        largest=1e3,
        quick=(),  # the normal tail and its gradients take 40 s to compile with all optimisations
        dead_in_1=ALONE,
    ),
    "maf": Recipe(pf.maf, "linear", {"n_layers": 2}, dead_in_1=ALONE, quick=("float32",)),
    "maf_mog": Recipe(
        pf.maf_mog,
        "root",
        {"n_layers": 1, "n_components": 3},
        is_identity=False,
        largest=1e3,
        quick=(),
        dead_in_1=ALONE,
    ),
    "iaf": Recipe(pf.iaf, "linear", {"n_layers": 2}, dead_in_1=ALONE, quick=("float64",)),
    "nsf_ar": Recipe(pf.nsf_ar, "spline", {"n_layers": 2, "n_bins": 4}, BOX, dead_in_1=ALONE, quick=()),
    "bnaf": Recipe(
        pf.bnaf,
        "root",
        {"n_layers": 2, "n_units": 2, "depth": 1, "width": None},
        is_identity=False,
        largest=1e3,
        quick=(),
    ),
    "transformer_flow": Recipe(
        pf.transformer_flow,
        "linear",
        {"n_layers": 2, "depth": 1},
        quick=(),
        dead_in_1=ALONE,
    ),
    "autoregressive_flow": Recipe(
        pf.autoregressive_flow,
        "linear",
        {"n_layers": 2, "transformer": "sinh_arcsinh", "order": "random"},
        largest=10.0,
        quick=(),
        dead_in_1=ALONE,
    ),
    "inverse_autoregressive_flow": Recipe(
        pf.inverse_autoregressive_flow,
        "linear",
        {"n_layers": 2, "transformer": "sinh_arcsinh", "order": "random"},
        largest=10.0,
        quick=(),
        dead_in_1=ALONE,
    ),
    "wavenet": Recipe(
        pf.wavenet,
        "root",
        {"n_components": 3, "depth": 3, "cycle": 2},
        is_identity=False,
        largest=1e3,
        quick=(),
        dead_in_1=ALONE,
    ),
    "wavenet of sound": Recipe(
        pf.wavenet,
        "root",
        {"n_components": 2, "depth": 2, "prediction": 2, "companding": 0.5},
        is_identity=False,
        largest=100.0,
        quick=(),
        dead_in_1=ALONE,
    ),
    "parallel_wavenet": Recipe(
        pf.parallel_wavenet,
        "linear",
        {"n_layers": 2, "depth": 3, "cycle": 2},
        quick=(),
        dead_in_1=ALONE,
    ),
    "flowpp": Recipe(
        pf.flowpp, "root", {"n_layers": 1, "n_components": 3, "depth": 1}, is_identity=False, largest=1e3, quick=()
    ),
    "naf": Recipe(pf.naf, "root", {"n_layers": 1, "n_units": 3}, is_identity=False, largest=1e3, quick=()),
    "naf dense": Recipe(
        pf.naf,
        "root",
        {"n_layers": 1, "n_units": 3, "n_sigmoid_layers": 2},
        is_identity=False,
        largest=1e3,
        quick=(),
    ),
    "naf_ar": Recipe(
        pf.naf_ar,
        "root",
        {"n_layers": 1, "n_units": 3},
        is_identity=False,
        largest=1e3,
        quick=(),
        dead_in_1=ALONE,
    ),
    "umnn_maf": Recipe(
        pf.umnn_maf,
        "integral",
        {"n_layers": 1, "n_embedded": 3},
        BOX,
        is_identity=False,
        largest=1e3,
        quick=(),
        dead_in_1=ALONE,
    ),
    "sos_flow": Recipe(
        pf.sos_flow,
        "root",
        {"n_layers": 1, "degree": 2},
        BOX,
        is_identity=False,
        largest=1e3,
        quick=(),
        dead_in_1=ALONE,
    ),
    "bernstein_flow": Recipe(pf.bernstein_flow, "root", {"n_layers": 1, "degree": 4}, BOX, quick=(), dead_in_1=ALONE),
    "planar_flow": Recipe(pf.planar_flow, "root", {"n_layers": 2}, is_identity=False, quick=()),
    "planar_flow leaky": Recipe(
        pf.planar_flow, "root", {"n_layers": 2, "nonlinearity": "leaky_relu"}, is_identity=False, quick=()
    ),
    "radial_flow": Recipe(pf.radial_flow, "root", {"n_layers": 2}, is_identity=False, quick=()),
    "sylvester_flow": Recipe(
        pf.sylvester_flow, "root", {"n_layers": 2}, is_identity=False, dead_in_1=REFLECTED, quick=()
    ),
    "sylvester_flow householder": Recipe(
        pf.sylvester_flow,
        "root",
        {"n_layers": 2, "kind": "householder", "n_units": 2},
        is_identity=False,
        dead_in_1=REFLECTED,
        quick=(),
    ),
    "sylvester_flow triangular": Recipe(
        pf.sylvester_flow, "root", {"n_layers": 2, "kind": "triangular"}, is_identity=False, quick=()
    ),
    "residual_flow": Recipe(
        pf.residual_flow, "root", {"n_layers": 2, "depth": 1}, is_identity=False, quick=("float64",)
    ),
    "i_resnet": Recipe(pf.i_resnet, "root", {"n_layers": 2, "depth": 1}, is_identity=False, quick=()),
    "coupling_flow": Recipe(
        pf.coupling_flow, "linear", {"n_layers": 2, "transformer": "sinh_arcsinh"}, largest=10.0, quick=()
    ),
}


CASES = tuple((dim, context) for dim in (1, 2, 3, 5) for context in (None, CONTEXT_DIM))
QUICK = {"float32": ((3, CONTEXT_DIM),), "float64": ((2, None),)}


def recipe_rows() -> list[Row]:
    rows = []
    for name, r in RECIPES.items():
        for dim, context in CASES:

            def flow(r: Recipe = r, dim: int = dim, context: int | None = context) -> AbstractDistribution:
                options = {name: value for name, value in {"width": 8, **r.options}.items() if value is not None}
                return r.make(dim=dim, context_dim=context, key=0, **options)

            rows.append(
                Row(
                    f"{name} D={dim}" + (" context" if context else ""), lambda flow=flow: flow().bijection,
                    r.tolerance, largest=r.largest, knots=r.knots, is_identity=r.is_identity, flow=flow, spread=0.08,
                    depends=np.eye(dim, dtype=bool) if r.is_elementwise else None,
                    dead=r.dead_in_1 if dim == 1 else "",
                    quick=tuple(dtype for dtype in r.quick if (dim, context) in QUICK[dtype]),
                )
            )  # fmt: skip
    return rows
