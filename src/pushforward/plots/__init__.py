"""Pictures of densities, samples and training; each function returns a matplotlib `Figure` and changes no global state.

In every picture blue is data, orange is the model (colour-blind readers can tell them apart), grey is everything else.
"""

from pushforward.plots.curves import calibration, training_curve
from pushforward.plots.divergences import divergences
from pushforward.plots.grid import image_grid
from pushforward.plots.maps import density, warp
from pushforward.plots.marginals import corner

__all__ = ["calibration", "corner", "density", "divergences", "image_grid", "training_curve", "warp"]
