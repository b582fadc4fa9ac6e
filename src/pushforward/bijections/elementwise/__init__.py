"""Scalar bijections, which serve as the transformers of every layer, and the element-wise layer.

A new scalar bijection is one file here, one entry in `TRANSFORMERS` (its name in recipes), and one zoo row.
"""

from collections.abc import Callable

from pushforward.bijection import AbstractBijection
from pushforward.bijections.elementwise.affine import Affine, LeakyReLU, Translation
from pushforward.bijections.elementwise.apply import apply_transformer, check_transformer, n_parameters
from pushforward.bijections.elementwise.layer import Elementwise
from pushforward.bijections.elementwise.mixture_cdf import MixtureLogistic, MixtureNormal
from pushforward.bijections.elementwise.rational_quadratic import CircularSpline, RationalQuadraticSpline
from pushforward.bijections.elementwise.sinh_arcsinh import SinhArcsinh
from pushforward.bijections.elementwise.supports import Exp, Sigmoid, Softplus, Tanh

TRANSFORMERS: dict[str, Callable[[], AbstractBijection]] = {
    "additive": Translation,
    "affine": Affine,
    "leaky_relu": LeakyReLU,
    "mixture_logistic": MixtureLogistic,
    "mixture_normal": MixtureNormal,
    "rational_quadratic": RationalQuadraticSpline,
    "sinh_arcsinh": SinhArcsinh,
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
    "CircularSpline",
    "Elementwise",
    "Exp",
    "LeakyReLU",
    "MixtureLogistic",
    "MixtureNormal",
    "RationalQuadraticSpline",
    "Sigmoid",
    "SinhArcsinh",
    "Softplus",
    "Tanh",
    "Translation",
    "apply_transformer",
    "n_parameters",
    "transformer_named",
]
