"""Writes the page: a table of all families and shapes, then a card for each family."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from pushforward.persistence.atomic_write import write_atomically
from pushforward.reporting.gallery.card import Budget
from pushforward.reporting.gallery.families import BY_NAME
from pushforward.reporting.gallery.measure import DEPTH_SHAPE, Shape
from pushforward.reporting.gallery.pictures import density_png
from pushforward.reporting.gallery.sheet import CSS
from pushforward.reporting.gallery.work import CardResult, FitPicture, Panel
from pushforward.reporting.plots.canvas import number
from pushforward.reporting.plots.sheet import document

_TITLE = "A gallery of normalizing flows"
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
    target = Path(path)
    body = f"<main>{_head(cards, shapes, budget)}{''.join(_article(card, shapes) for card in cards)}</main>"
    body += f"<footer><p>{escape('; '.join(f'{name} {value}' for name, value in facts.items()))}.</p></footer>"
    content = document(_TITLE, body, CSS).encode()
    write_atomically(target, lambda file: file.write(content), lambda: _check_target(target, overwrite))
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")


def _head(cards: Sequence[CardResult], shapes: Mapping[str, Shape], budget: Budget) -> str:
    return (
        f"<h1>{_TITLE}</h1>"
        '<p class="lead">Every family of this library on the same eight shapes, with the same few steps.</p>'
        f"<p>Each number is the mean log-density, in nats, of {budget.n_test:,} test points: "
        f"higher is better. Each flow was fitted with {budget.n_steps:,} steps of {budget.batch_size} points out of "
        f"{budget.n_rows:,}, which shows what a family learns quickly, not all that it can learn. The first row is the "
        "density from which the points were drawn: a flow exceeds it by chance only. The best family of each shape is "
        "bold. If a flow gives a few points almost no density, they dominate its mean; none means that training "
        "diverged or that a point had no finite density. A name links to its card.</p>"
        f"{_table(cards, shapes)}"
    )


def _table(cards: Sequence[CardResult], shapes: Mapping[str, Shape]) -> str:
    heads = "".join(
        f'<th scope="col"><img src="{density_png(shape.truth, shape.colour_max)}" alt="True density of {_label(name)}">'
        f"<span>{_label(name)}</span></th>"
        for name, shape in shapes.items()
    )
    truth = "".join(f"<td>{number(shape.true_log_likelihood, 2)}</td>" for shape in shapes.values())
    lines = [f'<tr class="truth"><th scope="row">true density</th>{truth}</tr>']
    best = {name: _best(cards, name) for name in shapes}
    for card in cards:
        cells = "".join(
            f"<td{' class=best' if _shown(card.fits[name]) == best[name] else ''}>{_shown(card.fits[name])}</td>"
            for name in shapes
        )
        title = BY_NAME[card.name].title
        lines.append(f'<tr><th scope="row"><a href="#{card.name}">{escape(title)}</a></th>{cells}</tr>')
    return (
        f'<table class="nats" lang="en"><thead><tr><th scope="col"></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _best(cards: Sequence[CardResult], name: str) -> str | None:
    scores = [card.fits[name].log_likelihood for card in cards]
    finite = [score for score in scores if score is not None]
    return number(max(finite), 2) if finite and len(cards) > 1 else None


def _shown(fit: FitPicture) -> str:
    if fit.log_likelihood is None:
        return "none"
    return number(fit.log_likelihood, 2) if fit.log_likelihood > _LOWEST_SHOWN else f"&lt;{number(_LOWEST_SHOWN, 0)}"


def _article(card: CardResult, shapes: Mapping[str, Shape]) -> str:
    description, title = BY_NAME[card.name], escape(BY_NAME[card.name].title)
    note = f'<p class="note">{escape(description.note)}</p>' if description.note else ""
    names = " and ".join(f"<code>{recipe}</code>" for recipe in description.recipes)
    matrices = f"<h3>Inside a layer</h3>{_matrices(card.matrices)}" if card.matrices else ""
    return (
        f'<article id="{card.name}"><h2>{title}</h2>'
        f'<p class="formula">{description.formula}</p><p>{escape(description.use)} Recipes: {names}.</p>{note}'
        f"<h3>What layers do</h3><p>Each column is a flow fitted to {_label(DEPTH_SHAPE)}. The pictures show the "
        "images of a square grid, a standard Gaussian, and a uniform square with the variance of the Gaussian.</p>"
        f'<div class="grid">{"".join(_panel(panel, title) for panel in card.panels)}</div>'
        f"<h3>Eight shapes, {_layers(card.n_layers)}</h3>"
        f'<div class="grid">{"".join(_fit(name, fit, shapes[name], title) for name, fit in card.fits.items())}</div>'
        f'<div class="halves"><section><h3>Jacobian</h3><p>{escape(description.jacobian)} Below, '
        "∂<b>z</b>/∂<b>x</b> at a random point with random weights: orange is positive, blue negative, white exactly "
        "zero.</p>"
        f"{_matrices(card.jacobians)}{matrices}</section>"
        f"<section><h3>Cost</h3><p><b>log_prob</b>: {escape(description.density_cost)} <b>sample</b>: "
        f"{escape(description.sample_cost)}</p>"
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


def _fit(name: str, fit: FitPicture, shape: Shape, title: str) -> str:
    alt = f"{title} fitted to {_label(name)}"
    return (
        f"<figure>{_picture(fit.picture, alt, fit.failure)}<figcaption>{_label(name)} <span><b>{_shown(fit)}</b> "
        f"(true {number(shape.true_log_likelihood, 2)})</span></figcaption></figure>"
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


def _label(name: str) -> str:
    return name.replace("_", " ")
