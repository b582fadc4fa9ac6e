"""`pushforward gallery`: a page that shows what every family of flows does."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Quiet, Seed, names
from pushforward.cli.outputs import check_outputs, writing
from pushforward.cli.printer import Printer, nats, seconds


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
    """Train every family on eight shapes in the plane and draw what they do, as one HTML file. About six minutes."""
    out, start = Printer(json, quiet), time.perf_counter()
    check_outputs(overwrite, output)
    wanted = names(families)
    import jax

    from pushforward._version import __version__
    from pushforward.reporting.gallery import FULL, QUICK, finish_all, shapes, write_gallery
    from pushforward.train.progress import progress_bar

    cards = _cards(wanted)
    budget, done = QUICK if quick else FULL, []
    out.say(f"{len(cards)} families on {len(shapes(QUICK, seed))} shapes, {budget.n_steps:,} steps each")
    with progress_bar(out.talks, len(cards), lambda _: f"{done[-1]} drawn", "the first families") as report:

        def drawn(name: str) -> None:
            done.append(name)
            report(len(done) - 1)

        finished = finish_all(cards, quick=quick, seed=seed, report=drawn)
    frames = shapes(budget, seed)
    facts = {
        "Made by pushforward": __version__,
        "with jax": jax.__version__,
        "seed": seed,
        "in": seconds(time.perf_counter() - start),
    }
    with writing(output):
        write_gallery(output, finished, frames, budget, facts, overwrite=overwrite)
    titles = {card.name: card.title for card in cards}
    out.table(
        ["family", "mean nats", "short of the truth", "worst on", "took"],
        [_line(titles[card.name], card, frames) for card in finished],
    )
    took, size = time.perf_counter() - start, output.stat().st_size
    out.say(f"wrote {output}, {size / 1e6:.1f} MB, in {seconds(took)}: open it in a browser")
    out.result({
        "families": {
            card.name: {
                "nats": {shape: fit.nats for shape, fit in card.fits.items()},
                "dims": list(card.dims), "seconds_a_row": card.costs, "seconds": card.seconds,
                "cpu_seconds": card.cpu_seconds,
            }
            for card in finished
        },
        "true_log_likelihood": {shape: place.true_log_likelihood for shape, place in frames.items()},
        "steps": budget.n_steps, "batch_size": budget.batch_size, "seed": seed, "seconds": took,
        "output": str(output), "bytes": size,
    })  # fmt: skip


def _line(title: str, card: Any, frames: Any) -> list[str]:
    """A family's mean over the shapes it could learn, and the shape that it learned worst."""
    found = {shape: fit.nats for shape, fit in card.fits.items() if fit.nats is not None}
    gaps = {shape: frames[shape].true_log_likelihood - value for shape, value in found.items()}
    if not gaps:
        return [title, nats(None), nats(None), nats(None), seconds(card.seconds)]
    worst = max(gaps, key=lambda shape: gaps[shape])
    mean, gap = sum(found.values()) / len(found), sum(gaps.values()) / len(gaps)
    return [title, nats(mean), nats(gap), worst, seconds(card.seconds)]


def _cards(wanted: list[str] | None) -> list[Any]:
    """The cards of the names, each a family or one of its recipes, in the order of the page."""
    from pushforward.reporting.gallery import BY_NAME, BY_RECIPE, CARDS

    if wanted is None:
        return list(CARDS)
    for name in wanted or [""]:
        if name not in BY_NAME and name not in BY_RECIPE:
            raise typer.BadParameter(
                f"{name!r} is no family: choose some of {', '.join(BY_NAME)}, or name a recipe.",
                param_hint="--families",
            )
    found = {BY_NAME.get(name) or BY_RECIPE[name] for name in wanted}
    return [card for card in CARDS if card in found]
