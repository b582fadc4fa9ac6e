"""Every bijection of the library: parts for those who compose their own flows."""

from pushforward.bijection import AbstractBijection
from pushforward.bijections.coupling import Coupling
from pushforward.bijections.elementwise import (
    TRANSFORMERS,
    Affine,
    CircularSpline,
    Elementwise,
    Exp,
    LeakyReLU,
    RationalQuadraticSpline,
    Sigmoid,
    SinhArcsinh,
    Softplus,
    Tanh,
    Translation,
    apply_transformer,
    n_parameters,
)
from pushforward.bijections.linear import PLU, Permutation
from pushforward.bijections.partitions import alternating, channel_wise, checkerboard, halves, random_half
from pushforward.compose import Chain, Conditional, Inverse, Standardise
from pushforward.repeat import Repeat
from pushforward.reshape import Reshape, Split, Squeeze

__all__ = [
    "PLU",
    "TRANSFORMERS",
    "AbstractBijection",
    "Affine",
    "Chain",
    "CircularSpline",
    "Conditional",
    "Coupling",
    "Elementwise",
    "Exp",
    "Inverse",
    "LeakyReLU",
    "Permutation",
    "RationalQuadraticSpline",
    "Repeat",
    "Reshape",
    "Sigmoid",
    "SinhArcsinh",
    "Softplus",
    "Split",
    "Squeeze",
    "Standardise",
    "Tanh",
    "Translation",
    "alternating",
    "apply_transformer",
    "channel_wise",
    "checkerboard",
    "halves",
    "n_parameters",
    "random_half",
]
