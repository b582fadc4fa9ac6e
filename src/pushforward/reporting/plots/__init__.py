"""Plots of densities, samples and training; each function returns a matplotlib `Figure` and changes no global state.

In each plot data are blue, the model is orange (which colour-blind readers can distinguish), the rest is grey.
"""

from pushforward.reporting.plots.curves import training_curve
from pushforward.reporting.plots.divergences import divergences
from pushforward.reporting.plots.grid import image_grid
from pushforward.reporting.plots.layers import warp_layers
from pushforward.reporting.plots.maps import density, warp
from pushforward.reporting.plots.marginals import corner
from pushforward.reporting.plots.pit import calibration
from pushforward.reporting.plots.scores import log_densities

__all__ = [
    "calibration",
    "corner",
    "density",
    "divergences",
    "image_grid",
    "log_densities",
    "training_curve",
    "warp",
    "warp_layers",
]
