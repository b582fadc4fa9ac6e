"""Conditioner networks: from arrays of one sample to an array of parameters. They do not depend on flows."""

from pushforward.networks.activations import ACTIVATIONS
from pushforward.networks.attention import CausalAttention
from pushforward.networks.attention_block import AttentionBlock
from pushforward.networks.autoregressive import AbstractAutoregressiveNetwork
from pushforward.networks.causal_conv import CausalConvolution
from pushforward.networks.conv import ConvNet
from pushforward.networks.graph import checked_adjacency
from pushforward.networks.graph_mlp import GraphMLP
from pushforward.networks.induced_norms import vector_norm
from pushforward.networks.lipschitz import LIPSCHITZ_ACTIVATIONS, AbstractLipschitzNetwork, bounds_in
from pushforward.networks.lipschitz_conv import LipschitzConv, LipschitzConvNet
from pushforward.networks.lipschitz_mlp import LipschitzDense, LipschitzMLP
from pushforward.networks.masked_mlp import MaskedMLP, checked_order
from pushforward.networks.mlp import MLP, ResidualMLP
from pushforward.networks.network import AbstractNetwork
from pushforward.networks.periodic import PeriodicInputs
from pushforward.networks.zero_initialised import ZeroInitialised

__all__ = [
    "ACTIVATIONS",
    "LIPSCHITZ_ACTIVATIONS",
    "MLP",
    "AbstractAutoregressiveNetwork",
    "AbstractLipschitzNetwork",
    "AbstractNetwork",
    "AttentionBlock",
    "CausalAttention",
    "CausalConvolution",
    "ConvNet",
    "GraphMLP",
    "LipschitzConv",
    "LipschitzConvNet",
    "LipschitzDense",
    "LipschitzMLP",
    "MaskedMLP",
    "PeriodicInputs",
    "ResidualMLP",
    "ZeroInitialised",
    "bounds_in",
    "checked_adjacency",
    "checked_order",
    "vector_norm",
]
