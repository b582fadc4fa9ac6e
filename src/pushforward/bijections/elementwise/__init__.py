"""Scalar bijections, which serve as the transformers of every layer, and the element-wise layer.

A new scalar bijection is one file here, one entry in `TRANSFORMERS` (its name in recipes), and one zoo row.
"""

from collections.abc import Callable

from pushforward.bijection import AbstractBijection
from pushforward.bijections.elementwise.affine import Affine, LeakyReLU, Translation
from pushforward.bijections.elementwise.apply import apply_transformer, check_transformer, n_parameters
from pushforward.bijections.elementwise.bernstein import Bernstein
from pushforward.bijections.elementwise.columns import ColumnMaps
from pushforward.bijections.elementwise.companding import Companding
from pushforward.bijections.elementwise.cubic_spline import CubicSpline
from pushforward.bijections.elementwise.heavy_tails import HeavyTails
from pushforward.bijections.elementwise.layer import Elementwise
from pushforward.bijections.elementwise.linear_rational_spline import LinearRationalSpline
from pushforward.bijections.elementwise.linear_spline import LinearSpline
from pushforward.bijections.elementwise.mixture_cdf import MixtureLogistic, MixtureNormal
from pushforward.bijections.elementwise.monotone_integral import MonotoneIntegral
from pushforward.bijections.elementwise.normal_scores import NormalToLogistic
from pushforward.bijections.elementwise.quadratic_spline import QuadraticSpline
from pushforward.bijections.elementwise.rational_quadratic import CircularSpline, RationalQuadraticSpline
from pushforward.bijections.elementwise.sigmoidal import Sigmoidal
from pushforward.bijections.elementwise.sinh_arcsinh import SinhArcsinh
from pushforward.bijections.elementwise.squared import NonlinearSquared
from pushforward.bijections.elementwise.sum_of_squares import SumOfSquares
from pushforward.bijections.elementwise.supports import Exp, Sigmoid, Softplus, Tanh
from pushforward.compose import Chain

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
    """The scalar bijection of a name in `TRANSFORMERS`, or the object itself, checked.

    Args:
        transformer: a name, or an unconditional bijection of shape ().

    Raises:
        ValueError: if the name is unknown or the object is no scalar bijection.

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
