"""Scalar bijections: each alone, element-wise and in a coupling."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pushforward.bijections import (
    Affine,
    Bernstein,
    Chain,
    CircularSpline,
    Companding,
    CubicSpline,
    Elementwise,
    Exp,
    HeavyTails,
    LeakyReLU,
    LinearRationalSpline,
    LinearSpline,
    MixtureLogistic,
    MixtureNormal,
    MonotoneIntegral,
    NonlinearSquared,
    NormalToLogistic,
    PhaseShift,
    QuadraticSpline,
    RationalQuadraticSpline,
    Sigmoid,
    Sigmoidal,
    SinhArcsinh,
    Softplus,
    SumOfSquares,
    Tanh,
    Translation,
    halves,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from zoo.builders import coupling, coupling_mask
from zoo.rows import BOTH, CIRCLE, LINE, OPEN, POSITIVE, UNIT, Row


@dataclass(frozen=True)
class Scalar:
    """A scalar bijection: alone, element-wise and in a coupling, where its two sides are one set.

    `coupled_largest` is `Row.largest` in a coupling: an unbounded leaf may grow with the other coordinates.
    """

    build: Callable[[], AbstractBijection]
    tolerance: str
    z_side: str = LINE
    x_side: str = LINE
    largest: float = 1e30
    coupled_largest: float = 1e30
    knots: tuple[float, ...] = ()
    is_identity: bool = False


BOX = (5.0, 5 * (1 - 1e-6), 5 * (1 + 1e-6), 1.25, 2.5, 3.75)
TURN = (float(np.pi), float(np.pi) * (1 - 1e-6), float(np.pi) / 2)


SCALARS: dict[str, Scalar] = {
    "Translation": Scalar(Translation, "exact", is_identity=True),
    "Affine": Scalar(Affine, "elementary", is_identity=True),
    "LeakyReLU": Scalar(LeakyReLU, "elementary"),
    "SinhArcsinh": Scalar(SinhArcsinh, "elementary", largest=1e3, coupled_largest=10.0, is_identity=True),
    "RationalQuadraticSpline": Scalar(lambda: RationalQuadraticSpline(4), "spline", knots=BOX, is_identity=True),
    "CircularSpline": Scalar(
        lambda: CircularSpline(4), "spline", CIRCLE, CIRCLE, float(np.pi), knots=TURN, is_identity=True
    ),
    "PhaseShift": Scalar(lambda: PhaseShift(1.0), "exact", CIRCLE, CIRCLE, float(np.pi), knots=TURN),
    "MixtureLogistic": Scalar(lambda: MixtureLogistic(3), "root", largest=1e3, coupled_largest=10.0),
    "MixtureNormal": Scalar(lambda: MixtureNormal(3), "root", largest=1e3, coupled_largest=10.0),
    "MixtureGaussian": Scalar(
        lambda: Chain([NormalToLogistic(), MixtureNormal(3)]), "root", largest=1e3, coupled_largest=10.0
    ),
    "Sigmoidal": Scalar(lambda: Sigmoidal(4), "root", largest=1e3, coupled_largest=10.0),
    "Sigmoidal dense": Scalar(lambda: Sigmoidal(3, depth=2), "root", largest=1e3, coupled_largest=10.0),
    "SumOfSquares": Scalar(lambda: SumOfSquares(2, bound=5.0), "root", largest=1e15, coupled_largest=1e15, knots=BOX),
    "Bernstein": Scalar(lambda: Bernstein(4), "root", knots=BOX, is_identity=True),
    "NonlinearSquared": Scalar(NonlinearSquared, "root", largest=1e3, coupled_largest=10.0, is_identity=True),
    "MonotoneIntegral": Scalar(
        lambda: MonotoneIntegral(3, width=6),
        "integral",
        largest=1e3,
        coupled_largest=10.0,
        knots=BOX,
        is_identity=True,
    ),
    "LinearSpline": Scalar(lambda: LinearSpline(4), "spline", knots=BOX, is_identity=True),
    "QuadraticSpline": Scalar(lambda: QuadraticSpline(4), "spline", knots=BOX, is_identity=True),
    # its tails have slopes down to 1e-5, which the gradient of a root divides by twice
    "CubicSpline": Scalar(lambda: CubicSpline(4), "spline", coupled_largest=1e15, knots=BOX, is_identity=True),
    "LinearRationalSpline": Scalar(lambda: LinearRationalSpline(4), "spline", knots=BOX, is_identity=True),
    "HeavyTails": Scalar(HeavyTails, "elementary", largest=10.0, coupled_largest=5.0),
    "NormalToLogistic": Scalar(NormalToLogistic, "elementary", largest=1e3),
    "Companding": Scalar(lambda: Companding(0.5), "elementary", largest=100.0),
    "Exp": Scalar(Exp, "elementary", LINE, POSITIVE, 80.0),
    "Softplus": Scalar(Softplus, "elementary", LINE, POSITIVE, 80.0),
    "Sigmoid": Scalar(Sigmoid, "elementary", LINE, UNIT, 80.0),
    "Tanh": Scalar(Tanh, "elementary", LINE, OPEN, 80.0),
}


# A transformer alone is quick in float64 (test_transformers.py samples it in float32). Layers share their code: one
# transformer of each kind of implementation is tested in a coupling in float32, two are tested element-wise.
QUICK_ALONE = (
    *(
        "Translation",
        "Affine",
        "LeakyReLU",
        "SinhArcsinh",
        "RationalQuadraticSpline",
        "CircularSpline",
        "MixtureLogistic",
    ),
    *(
        "NormalToLogistic",
        "Companding",
        "Exp",
        "Softplus",
        "Sigmoid",
        "Tanh",
    ),  # without parameters
)
MADE_OF_OTHERS = ("MixtureGaussian", "Sigmoidal dense")
QUICK_ELEMENTWISE = ("Affine", "RationalQuadraticSpline")
QUICK_COUPLED = ("Affine", "LeakyReLU", "RationalQuadraticSpline", "Sigmoidal")  # one of each kind of formula


def scalar_rows() -> list[Row]:
    rows = []
    for name, s in SCALARS.items():
        sides = {"knots": s.knots, "is_identity": s.is_identity}
        alone = {**sides, "largest": s.largest, "largest_gradient": s.largest, "spread": 1.0}
        quick = BOTH if name in QUICK_ALONE else () if name in MADE_OF_OTHERS else ("float64",)
        rows.append(Row(name, s.build, s.tolerance, s.z_side, s.x_side, quick=quick, **alone))
        if s.z_side == s.x_side and n_parameters(s.build()):
            rows.append(
                Row(
                    f"Elementwise[{name}]", lambda s=s: Elementwise(s.build(), (3,)), s.tolerance, s.z_side, s.x_side,
                    depends=np.eye(3, dtype=bool), quick=("float64",) if name in QUICK_ELEMENTWISE else (), **alone,
                )
            )  # fmt: skip
            mask = halves(3)
            tolerance = s.tolerance if s.tolerance in ("spline", "integral") else "linear"
            rows.append(
                Row(
                    f"Coupling[{name}]", lambda s=s, mask=mask: coupling(s.build(), mask),
                    tolerance, s.z_side, s.x_side, depends=coupling_mask(mask), largest=s.coupled_largest,
                    quick=("float32",) if name in QUICK_COUPLED else (), **sides,
                )
            )  # fmt: skip
    return rows
