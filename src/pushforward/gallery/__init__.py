"""The gallery: one page that shows what every family of flows does, made of flows trained while it is drawn."""

from pushforward.gallery.card import FULL, QUICK, Budget, Card
from pushforward.gallery.families import BY_NAME, BY_RECIPE, CARDS
from pushforward.gallery.measure import shapes
from pushforward.gallery.page import write_gallery
from pushforward.gallery.work import Finished, finish_all

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
