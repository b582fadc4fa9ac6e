"""Pictures of densities, samples and training; each function returns a matplotlib `Figure` and changes no global state.

In every picture blue is data, orange is the model (colour-blind readers can tell them apart), grey is everything else.
"""

from pushforward.plots.curves import training_curve
from pushforward.plots.divergences import divergences
from pushforward.plots.grid import image_grid
from pushforward.plots.layers import warp_layers
from pushforward.plots.maps import density, warp
from pushforward.plots.marginals import corner
from pushforward.plots.pit import calibration
from pushforward.plots.scores import log_densities

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
