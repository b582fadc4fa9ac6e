"""Data to start with: a real table that ships with the package, and planar shapes and energies of known density."""

from pushforward.datasets.potentials import POTENTIAL_NAMES as POTENTIAL_NAMES
from pushforward.datasets.potentials import potential as potential
from pushforward.datasets.power import HouseholdPower as HouseholdPower
from pushforward.datasets.power import household_power as household_power
from pushforward.datasets.toy import TOY_NAMES as TOY_NAMES
from pushforward.datasets.toy import toy as toy
from pushforward.datasets.toy import toy_log_density as toy_log_density

__all__ = [
    "POTENTIAL_NAMES",
    "TOY_NAMES",
    "HouseholdPower",
    "household_power",
    "potential",
    "toy",
    "toy_log_density",
]
