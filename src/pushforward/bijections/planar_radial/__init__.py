"""Planar, radial and Sylvester layers: nonlinear in few directions or around a point."""

from pushforward.bijections.planar_radial.planar import Planar
from pushforward.bijections.planar_radial.radial import Radial
from pushforward.bijections.planar_radial.sylvester import Sylvester

__all__ = ["Planar", "Radial", "Sylvester"]
