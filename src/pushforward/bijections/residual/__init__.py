"""Residual blocks: bijections by contraction, with estimators of their log-determinants."""

from pushforward.bijections.residual.contractive import Contractive, exactly
from pushforward.bijections.residual.log_det import AbstractLogDet, Exact, PowerSeries, RussianRoulette
from pushforward.bijections.residual.solve import Solution

__all__ = ["AbstractLogDet", "Contractive", "Exact", "PowerSeries", "RussianRoulette", "Solution", "exactly"]
