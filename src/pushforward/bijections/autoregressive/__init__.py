"""Autoregressive layers: triangular Jacobians, one direction in one pass, the other in order."""

from pushforward.bijections.autoregressive.block import BlockAutoregressive
from pushforward.bijections.autoregressive.masked import MaskedAutoregressive

__all__ = ["BlockAutoregressive", "MaskedAutoregressive"]
