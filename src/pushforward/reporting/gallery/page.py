"""Writes the page: a table of all families and shapes, then a card for each family."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pushforward.core.arguments import as_path
from pushforward.reporting.gallery.card import Budget
from pushforward.reporting.gallery.families import BY_NAME
from pushforward.reporting.gallery.measure import DEPTH_SHAPE, Shape
from pushforward.reporting.gallery.pictures import density_png
from pushforward.reporting.gallery.work import CardResult, FitPicture
from pushforward.reporting.html import write_page
from pushforward.reporting.text import decimals

_LOWEST_SHOWN = -1000.0  # nats: a lower mean shows only that a few points have almost no density


def write_gallery(
    path: str | os.PathLike[str],
    cards: Sequence[CardResult],
    shapes: Mapping[str, Shape],
    budget: Budget,
    facts: Mapping[str, object],
    *,
    overwrite: bool = False,
) -> Path:
    """Write the cards as one self-contained HTML file without scripts and external resources.

    Args:
        path: where to write; the folder must exist.
        cards: the cards, in order.
        shapes: the shapes by name, with their true densities.
        budget: the budget of the cards.
        facts: names and values for the foot of the page.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false.
    """
    return write_page(
        as_path(path), "gallery.html", overwrite, title="A gallery of normalizing flows", cards=cards, shapes=shapes,
        budget=budget, facts=facts, by_name=BY_NAME, depth_shape=DEPTH_SHAPE, density_png=density_png,
        decimals=decimals, shown=_shown, best={name: _best(cards, name) for name in shapes},
    )  # fmt: skip


def _best(cards: Sequence[CardResult], name: str) -> str | None:
    scores = [card.fits[name].log_likelihood for card in cards]
    finite = [score for score in scores if score is not None]
    return decimals(max(finite), 2) if finite and len(cards) > 1 else None


def _shown(fit: FitPicture) -> str:
    if fit.log_likelihood is None:
        return "none"
    return decimals(fit.log_likelihood, 2) if fit.log_likelihood > _LOWEST_SHOWN else f"<{decimals(_LOWEST_SHOWN, 0)}"
