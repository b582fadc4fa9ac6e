"""Conditioner networks. They know no flows: arrays of one sample in, an array of parameters out."""

from pushforward.networks.attention import CausalAttention
from pushforward.networks.attention_block import AttentionBlock
from pushforward.networks.autoregressive import AbstractAutoregressiveNetwork
from pushforward.networks.masked_mlp import MaskedMLP, checked_order
from pushforward.networks.mlp import MLP, ResidualMLP
from pushforward.networks.network import ACTIVATIONS, AbstractNetwork

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AbstractAutoregressiveNetwork",
    "AbstractNetwork",
    "AttentionBlock",
    "CausalAttention",
    "MaskedMLP",
    "ResidualMLP",
    "checked_order",
]
