"""`pushforward gallery`: a page that shows what each family of flows does."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Quiet, Seed, split_names
from pushforward.cli.outputs import check_outputs, writing
from pushforward.cli.printer import Printer, format_score, format_seconds


def gallery(
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")] = Path("gallery.html"),
    families: Annotated[str | None, typer.Option(help="Families to draw: planar,radial. All by default.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Hardly train: a page in seconds, to look at its form.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train every family on eight shapes in the plane and draw what they do, as one HTML file. About eight minutes."""
    out, start = Printer(json, quiet), time.perf_counter()
    check_outputs(overwrite, output)
    requested = split_names(families)
    import jax

    from pushforward._version import __version__
    from pushforward.reporting.gallery import FULL, QUICK, make_shapes, run_cards, write_gallery
    from pushforward.train.progress import progress_bar

    cards = _find_cards(requested)
    budget, done = QUICK if quick else FULL, []
    out.print(f"{len(cards)} families on {len(make_shapes(QUICK, seed))} shapes, {budget.n_steps:,} steps each")
    with progress_bar(out.prints_text, len(cards), lambda _: f"{done[-1]} drawn", "the first families") as report:

        def report_card(name: str) -> None:
            done.append(name)
            report(len(done) - 1)

        results = run_cards(cards, quick=quick, seed=seed, report=report_card)
    shapes = make_shapes(budget, seed)
    facts = {
        "Made by pushforward": __version__,
        "with jax": jax.__version__,
        "seed": seed,
        "in": format_seconds(time.perf_counter() - start),
    }
    with writing(output):
        write_gallery(output, results, shapes, budget, facts, overwrite=overwrite)
    titles = {card.name: card.title for card in cards}
    out.table(
        ["family", "mean nats", "below the truth", "worst on", "time"],
        [_summary_line(titles[card.name], card, shapes) for card in results],
    )
    elapsed, size = time.perf_counter() - start, output.stat().st_size
    out.print(f"wrote {output}, {size / 1e6:.1f} MB, in {format_seconds(elapsed)}: open it in a browser")
    out.result({
        "families": {
            card.name: {
                "nats": {shape: fit.log_likelihood for shape, fit in card.fits.items()},
                "dims": list(card.dims), "seconds_a_row": card.costs, "seconds": card.seconds,
                "cpu_seconds": card.cpu_seconds,
            }
            for card in results
        },
        "true_nats": {name: shape.true_log_likelihood for name, shape in shapes.items()},
        "steps": budget.n_steps, "batch_size": budget.batch_size, "seed": seed, "seconds": elapsed,
        "output": str(output), "bytes": size,
    })  # fmt: skip


def _summary_line(title: str, card: Any, shapes: Any) -> list[str]:
    """The mean score of a family over the shapes where it has one, the mean gap to the truth, and the worst shape."""
    scores = {shape: fit.log_likelihood for shape, fit in card.fits.items() if fit.log_likelihood is not None}
    gaps = {shape: shapes[shape].true_log_likelihood - value for shape, value in scores.items()}
    if not gaps:
        return [title, format_score(None), format_score(None), format_score(None), format_seconds(card.seconds)]
    worst = max(gaps, key=lambda shape: gaps[shape])
    mean, gap = sum(scores.values()) / len(scores), sum(gaps.values()) / len(gaps)
    return [title, format_score(mean), format_score(gap), worst, format_seconds(card.seconds)]


def _find_cards(requested: list[str] | None) -> list[Any]:
    """The cards of these names, each a family or one of its recipes, in the order of the page."""
    from pushforward.reporting.gallery import BY_NAME, BY_RECIPE, CARDS

    if requested is None:
        return list(CARDS)
    for name in requested or [""]:
        if name not in BY_NAME and name not in BY_RECIPE:
            raise typer.BadParameter(
                f"{name!r} is not a family: choose from {', '.join(BY_NAME)}, or name a recipe.",
                param_hint="--families",
            )
    chosen = {BY_NAME.get(name) or BY_RECIPE[name] for name in requested}
    return [card for card in CARDS if card in chosen]
