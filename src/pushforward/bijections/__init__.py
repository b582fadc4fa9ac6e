"""All bijections of the library, for users who compose flows.

All exports of `scalar` are exported here too, so that a new scalar bijection needs one export.
"""

from pushforward.bijections import scalar
from pushforward.bijections.autoregressive import BlockAutoregressive, MaskedAutoregressive
from pushforward.bijections.conditional_split import ConditionalSplit
from pushforward.bijections.convolutional import (
    ActivationNormalisation,
    EmergingConvolution,
    ImageCoupling,
    MaskedConvolution,
    OneByOne,
    PeriodicConvolution,
    PixelSigmoid,
)
from pushforward.bijections.coupling import Coupling
from pushforward.bijections.linear import (
    PLU,
    Cayley,
    Dense,
    Diagonal,
    Householder,
    LinearPrediction,
    LinearRegression,
    LowRank,
    MatrixExponential,
    Permutation,
    Triangular,
    Whiten,
)
from pushforward.bijections.marginal import MarginalGaussianization
from pushforward.bijections.partitions import alternating, channel_wise, checkerboard, halves, random_half
from pushforward.bijections.planar_radial import Planar, Radial, Sylvester
from pushforward.bijections.residual import AbstractLogDet, Contractive, Exact, PowerSeries, RussianRoulette
from pushforward.bijections.scalar import *  # noqa: F403
from pushforward.bijections.sphere import from_sphere, to_sphere
from pushforward.bijections.stick_breaking import StickBreaking
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.conditional import Conditional
from pushforward.core.inverse import Inverse
from pushforward.core.layers import stack_equal
from pushforward.core.repeat import Repeat
from pushforward.core.reshape import Reshape, Squeeze
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.core.split import Split, SplitChannels
from pushforward.core.standardise import Standardise

__all__ = [
    "PLU",
    "AbstractBijection",
    "AbstractLogDet",
    "AbstractScalarBijection",
    "ActivationNormalisation",
    "BlockAutoregressive",
    "Cayley",
    "Chain",
    "Conditional",
    "ConditionalSplit",
    "Contractive",
    "Coupling",
    "Dense",
    "Diagonal",
    "EmergingConvolution",
    "Exact",
    "Householder",
    "ImageCoupling",
    "Inverse",
    "LinearPrediction",
    "LinearRegression",
    "LowRank",
    "MarginalGaussianization",
    "MaskedAutoregressive",
    "MaskedConvolution",
    "MatrixExponential",
    "OneByOne",
    "PeriodicConvolution",
    "Permutation",
    "PixelSigmoid",
    "Planar",
    "PowerSeries",
    "Radial",
    "Repeat",
    "Reshape",
    "RussianRoulette",
    "Split",
    "SplitChannels",
    "Squeeze",
    "Standardise",
    "StickBreaking",
    "Sylvester",
    "Triangular",
    "Whiten",
    "alternating",
    "channel_wise",
    "checkerboard",
    "from_sphere",
    "halves",
    "random_half",
    "stack_equal",
    "to_sphere",
]
__all__ += scalar.__all__
