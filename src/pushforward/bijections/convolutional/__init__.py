"""Layers of images, (height, width, channels): invertible convolutions, normalisation, couplings."""

from pushforward.bijections.convolutional.activation_norm import ActivationNormalisation
from pushforward.bijections.convolutional.coupling import ImageCoupling
from pushforward.bijections.convolutional.emerging import EmergingConvolution
from pushforward.bijections.convolutional.masked import MaskedConvolution
from pushforward.bijections.convolutional.one_by_one import OneByOne
from pushforward.bijections.convolutional.periodic import PeriodicConvolution
from pushforward.bijections.convolutional.pixels import PixelSigmoid

__all__ = [
    "ActivationNormalisation",
    "EmergingConvolution",
    "ImageCoupling",
    "MaskedConvolution",
    "OneByOne",
    "PeriodicConvolution",
    "PixelSigmoid",
]
