"""Conditioner networks. They know no flows: arrays of one sample in, an array of parameters out."""

from pushforward.networks.mlp import MLP, ResidualMLP
from pushforward.networks.network import ACTIVATIONS, AbstractNetwork

__all__ = ["ACTIVATIONS", "MLP", "AbstractNetwork", "ResidualMLP"]
