"""Autoregressive layers: triangular Jacobians, one direction parallel, the other sequential."""

from pushforward.bijections.autoregressive.block import BlockAutoregressive
from pushforward.bijections.autoregressive.masked import MaskedAutoregressive

__all__ = ["BlockAutoregressive", "MaskedAutoregressive"]
