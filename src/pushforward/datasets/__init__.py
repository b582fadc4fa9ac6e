"""Example data: a real table in the package, 2-D shapes and energies of known density, images, sound."""

from pushforward.datasets.images import Images as Images
from pushforward.datasets.images import digits as digits
from pushforward.datasets.images import fashion_mnist as fashion_mnist
from pushforward.datasets.images import image_folder as image_folder
from pushforward.datasets.images import mnist_digits as mnist_digits
from pushforward.datasets.potentials import POTENTIAL_NAMES as POTENTIAL_NAMES
from pushforward.datasets.potentials import potential as potential
from pushforward.datasets.power import HouseholdPower as HouseholdPower
from pushforward.datasets.power import household_power as household_power
from pushforward.datasets.speech import Speech as Speech
from pushforward.datasets.speech import speech as speech
from pushforward.datasets.toy import TOY_NAMES as TOY_NAMES
from pushforward.datasets.toy import toy as toy
from pushforward.datasets.toy import toy_log_density as toy_log_density
from pushforward.datasets.wave_files import Sound as Sound
from pushforward.datasets.wave_files import read_wave as read_wave
from pushforward.datasets.wave_files import write_wave as write_wave

__all__ = [
    "POTENTIAL_NAMES",
    "TOY_NAMES",
    "HouseholdPower",
    "Images",
    "Sound",
    "Speech",
    "digits",
    "fashion_mnist",
    "household_power",
    "image_folder",
    "mnist_digits",
    "potential",
    "read_wave",
    "speech",
    "toy",
    "toy_log_density",
    "write_wave",
]
