"""The gallery: one page that shows what every family of flows does, made of flows trained while it is drawn."""

from pushforward.reporting.gallery.card import FULL, QUICK, Budget, Card
from pushforward.reporting.gallery.families import BY_NAME, BY_RECIPE, CARDS
from pushforward.reporting.gallery.measure import shapes
from pushforward.reporting.gallery.page import write_gallery
from pushforward.reporting.gallery.work import Finished, finish_all

__all__ = [
    "BY_NAME",
    "BY_RECIPE",
    "CARDS",
    "FULL",
    "QUICK",
    "Budget",
    "Card",
    "Finished",
    "finish_all",
    "shapes",
    "write_gallery",
]
