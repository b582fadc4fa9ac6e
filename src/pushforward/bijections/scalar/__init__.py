"""Scalar bijections, which serve as the transformers of every layer, and the element-wise layer.

A new scalar bijection is one file here, one entry in `TRANSFORMERS` (its name in recipes), and one zoo row.
"""

from collections.abc import Callable

from pushforward.bijections.scalar.affine import Affine, LeakyReLU, Translation
from pushforward.bijections.scalar.bernstein import Bernstein
from pushforward.bijections.scalar.columns import ColumnMaps
from pushforward.bijections.scalar.companding import Companding
from pushforward.bijections.scalar.cubic_spline import CubicSpline
from pushforward.bijections.scalar.elementwise import Elementwise
from pushforward.bijections.scalar.heavy_tails import HeavyTails
from pushforward.bijections.scalar.linear_rational_spline import LinearRationalSpline
from pushforward.bijections.scalar.linear_spline import LinearSpline
from pushforward.bijections.scalar.mixture_cdf import MixtureLogistic, MixtureNormal
from pushforward.bijections.scalar.monotone_integral import MonotoneIntegral
from pushforward.bijections.scalar.nonlinear_squared import NonlinearSquared
from pushforward.bijections.scalar.normal_scores import NormalToLogistic
from pushforward.bijections.scalar.phase_shift import PhaseShift
from pushforward.bijections.scalar.quadratic_spline import QuadraticSpline
from pushforward.bijections.scalar.rational_quadratic import CircularSpline, RationalQuadraticSpline
from pushforward.bijections.scalar.sigmoidal import Sigmoidal
from pushforward.bijections.scalar.sinh_arcsinh import SinhArcsinh
from pushforward.bijections.scalar.sum_of_squares import SumOfSquares
from pushforward.bijections.scalar.supports import Exp, Sigmoid, Softplus, Tanh
from pushforward.bijections.scalar.transformer import apply_transformer, check_transformer, n_parameters
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain

TRANSFORMERS: dict[str, Callable[[], AbstractBijection]] = {
    "additive": Translation,
    "affine": Affine,
    "bernstein": Bernstein,
    "cubic": CubicSpline,
    "dense_sigmoidal": lambda: Sigmoidal(4, depth=2),
    "heavy_tails": HeavyTails,
    "leaky_relu": LeakyReLU,
    "linear": LinearSpline,
    "linear_rational": LinearRationalSpline,
    "mixture_gaussian": lambda: Chain([NormalToLogistic(), MixtureNormal()]),
    "mixture_logistic": MixtureLogistic,
    "mixture_normal": MixtureNormal,
    "monotone_integral": MonotoneIntegral,
    "quadratic": QuadraticSpline,
    "rational_quadratic": RationalQuadraticSpline,
    "sigmoidal": Sigmoidal,
    "sinh_arcsinh": SinhArcsinh,
    "squared": NonlinearSquared,
    "sum_of_squares": SumOfSquares,
}


def transformer_named(transformer: str | AbstractBijection) -> AbstractBijection:
    """The scalar bijection of a name in `TRANSFORMERS`, or the object itself after a check.

    Args:
        transformer: a name, or a scalar bijection.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if the object is no bijection.
        ShapeError: if it is conditional or of another shape than ().

    Example:
        >>> from pushforward.bijections import transformer_named
        >>> type(transformer_named("affine")).__name__
        'Affine'
    """
    if isinstance(transformer, str):
        if transformer not in TRANSFORMERS:
            raise ValueError(
                f"transformer: expected one of {', '.join(sorted(TRANSFORMERS))}, or a scalar bijection, got "
                f"{transformer!r}."
            )
        return TRANSFORMERS[transformer]()
    check_transformer(transformer)
    return transformer


__all__ = [
    "TRANSFORMERS",
    "Affine",
    "Bernstein",
    "CircularSpline",
    "ColumnMaps",
    "Companding",
    "CubicSpline",
    "Elementwise",
    "Exp",
    "HeavyTails",
    "LeakyReLU",
    "LinearRationalSpline",
    "LinearSpline",
    "MixtureLogistic",
    "MixtureNormal",
    "MonotoneIntegral",
    "NonlinearSquared",
    "NormalToLogistic",
    "PhaseShift",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "Sigmoid",
    "Sigmoidal",
    "SinhArcsinh",
    "Softplus",
    "SumOfSquares",
    "Tanh",
    "Translation",
    "apply_transformer",
    "n_parameters",
    "transformer_named",
]
