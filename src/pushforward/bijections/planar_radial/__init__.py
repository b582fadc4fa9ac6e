"""Planar, radial and Sylvester layers: few parameters, a bend along some directions or about a point."""

from pushforward.bijections.planar_radial.planar import Planar
from pushforward.bijections.planar_radial.radial import Radial
from pushforward.bijections.planar_radial.sylvester import Sylvester

__all__ = ["Planar", "Radial", "Sylvester"]
