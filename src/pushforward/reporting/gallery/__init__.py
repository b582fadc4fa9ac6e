"""The gallery: one page that shows what each family of flows does, with flows that are trained for it."""

from pushforward.reporting.gallery.card import FULL, QUICK, Budget, Card
from pushforward.reporting.gallery.families import BY_NAME, BY_RECIPE, CARDS
from pushforward.reporting.gallery.measure import make_shapes
from pushforward.reporting.gallery.page import write_gallery
from pushforward.reporting.gallery.work import CardResult, run_cards

__all__ = [
    "BY_NAME",
    "BY_RECIPE",
    "CARDS",
    "FULL",
    "QUICK",
    "Budget",
    "Card",
    "CardResult",
    "make_shapes",
    "run_cards",
    "write_gallery",
]
