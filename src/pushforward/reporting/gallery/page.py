"""The page: a table of all families and shapes, then a card for each family; one atomic write."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from pushforward.persistence.atomic_write import write_atomically
from pushforward.reporting.gallery.card import Budget
from pushforward.reporting.gallery.families import BY_NAME
from pushforward.reporting.gallery.measure import DEPTH_SHAPE, Frame
from pushforward.reporting.gallery.pictures import density_png
from pushforward.reporting.gallery.sheet import CSS
from pushforward.reporting.gallery.work import Finished, Fit, Panel
from pushforward.reporting.plots.canvas import number
from pushforward.reporting.plots.sheet import document

_TITLE = "A gallery of normalizing flows"
_RUINED = -1000.0  # nats below which a mean says only that some points were taken for impossible


def write_gallery(
    path: str | os.PathLike[str],
    cards: Sequence[Finished],
    frames: Mapping[str, Frame],
    budget: Budget,
    facts: Mapping[str, object],
    *,
    overwrite: bool = False,
) -> Path:
    """Write the cards as one self-contained HTML file, which fetches nothing and runs nothing.

    Args:
        path: where to write; the folder must exist.
        cards: what to show, in order.
        frames: the shapes, with their true densities.
        budget: what the cards were made with.
        facts: what else is to be known, at the foot of the page.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false.
    """
    target = Path(path)
    body = f"<main>{_head(cards, frames, budget)}{''.join(_article(card, frames) for card in cards)}</main>"
    body += f"<footer><p>{escape('; '.join(f'{name} {value}' for name, value in facts.items()))}.</p></footer>"
    content = document(_TITLE, body, CSS).encode()
    write_atomically(target, lambda file: file.write(content), lambda: _check_target(target, overwrite))
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")


def _head(cards: Sequence[Finished], frames: Mapping[str, Frame], budget: Budget) -> str:
    return (
        f"<h1>{_TITLE}</h1>"
        '<p class="lead">Every family of this library on the same eight shapes, with the same few steps.</p>'
        f"<p>Each number is the mean log-density, in nats, of {budget.n_test:,} points that the flow has not seen: "
        f"higher is better. Each flow was fitted with {budget.n_steps:,} steps of {budget.batch_size} points out of "
        f"{budget.n_rows:,}, which shows what a family learns soon, not all that it can learn. The first row is the "
        "density from which the points were drawn: a flow passes it by chance only. The best family of each shape is "
        "bold. Where a flow gives a few points next to no density, these alone decide its mean; none means that "
        "training diverged or that a point had no finite density. A name leads to its card.</p>"
        f"{_table(cards, frames)}"
    )


def _table(cards: Sequence[Finished], frames: Mapping[str, Frame]) -> str:
    heads = "".join(
        f'<th scope="col"><img src="{density_png(place.truth, place.brightest)}" alt="True density of {_words(shape)}">'
        f"<span>{_words(shape)}</span></th>"
        for shape, place in frames.items()
    )
    truth = "".join(f"<td>{number(place.true_log_likelihood, 2)}</td>" for place in frames.values())
    lines = [f'<tr class="truth"><th scope="row">true density</th>{truth}</tr>']
    best = {shape: _best(cards, shape) for shape in frames}
    for card in cards:
        cells = "".join(
            f"<td{' class=best' if _shown(card.fits[shape]) == best[shape] else ''}>{_shown(card.fits[shape])}</td>"
            for shape in frames
        )
        title = BY_NAME[card.name].title
        lines.append(f'<tr><th scope="row"><a href="#{card.name}">{escape(title)}</a></th>{cells}</tr>')
    return (
        f'<table class="nats" lang="en"><thead><tr><th scope="col"></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _best(cards: Sequence[Finished], shape: str) -> str | None:
    found = [card.fits[shape].nats for card in cards]
    known = [nats for nats in found if nats is not None]
    return number(max(known), 2) if known and len(cards) > 1 else None


def _shown(fit: Fit) -> str:
    if fit.nats is None:
        return "none"
    return number(fit.nats, 2) if fit.nats > _RUINED else f"&lt;{number(_RUINED, 0)}"


def _article(card: Finished, frames: Mapping[str, Frame]) -> str:
    about, title = BY_NAME[card.name], escape(BY_NAME[card.name].title)
    note = f'<p class="note">{escape(about.note)}</p>' if about.note else ""
    names = " and ".join(f"<code>{recipe}</code>" for recipe in about.recipes)
    inside = f"<h3>Inside a layer</h3>{_matrices(card.inside)}" if card.inside else ""
    return (
        f'<article id="{card.name}"><h2>{title}</h2>'
        f'<p class="formula">{about.formula}</p><p>{escape(about.use)} Recipes: {names}.</p>{note}'
        f"<h3>What layers do</h3><p>Each column is a flow fitted to {_words(DEPTH_SHAPE)}. The pictures show where it "
        "takes a square grid, a standard Gaussian, and a uniform square of the Gaussian's variance.</p>"
        f'<div class="grid">{"".join(_panel(panel, title) for panel in card.panels)}</div>'
        f"<h3>Eight shapes, {_layers(card.n_layers)}</h3>"
        f'<div class="grid">{"".join(_fit(shape, fit, frames[shape], title) for shape, fit in card.fits.items())}</div>'
        f'<div class="halves"><section><h3>Jacobian</h3><p>{escape(about.jacobian)} Below, ∂<b>z</b>/∂<b>x</b> at a '
        "random point with random weights: orange is positive, blue negative, white exactly zero.</p>"
        f"{_matrices(card.jacobians)}{inside}</section>"
        f"<section><h3>Cost</h3><p><b>log_prob</b>: {escape(about.density_cost)} <b>sample</b>: "
        f"{escape(about.sample_cost)}</p>"
        f"{card.cost_picture}<p class=note>Measured: time a row, for 64 rows and 2 layers on one core, without "
        "compiling.</p></section></div></article>"
    )


def _panel(panel: Panel, title: str) -> str:
    rows = (("the grid", panel.grid), ("the Gaussian", panel.gaussian), ("the square", panel.square))
    figures = "".join(
        f"<figure>{_picture(data, f'{title}, {_layers(panel.n_layers)}: {what}', panel.failure)}"
        f"<figcaption>{what}</figcaption></figure>"
        for what, data in rows
    )
    return f'<div class="depth"><b>{_layers(panel.n_layers)}</b>{figures}</div>'


def _fit(shape: str, fit: Fit, place: Frame, title: str) -> str:
    alt = f"{title} fitted to {_words(shape)}"
    return (
        f"<figure>{_picture(fit.picture, alt, fit.failure)}<figcaption>{_words(shape)} <span><b>{_shown(fit)}</b> "
        f"(true {number(place.true_log_likelihood, 2)})</span></figcaption></figure>"
    )


def _picture(data: str, alt: str, failure: str) -> str:
    if not data:
        return f'<div class="none">{escape(failure)}</div>'
    return f'<img class="picture" loading="lazy" src="{data}" alt="{escape(alt)}">'


def _matrices(pictures: Sequence[tuple[str, str]]) -> str:
    figures = (f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>" for title, svg in pictures)
    return f'<div class="matrices">{"".join(figures)}</div>'


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _words(shape: str) -> str:
    return shape.replace("_", " ")
