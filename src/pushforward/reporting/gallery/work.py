"""Makes cards from registry entries, two at a time."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import Queue, get_context
from typing import Any

from pushforward.reporting.gallery.card import FULL, QUICK, Card
from pushforward.reporting.gallery.families import BY_NAME
from pushforward.reporting.gallery.measure import DEPTH_SHAPE, costs, fit_shape, make_shapes
from pushforward.reporting.gallery.pictures import cost_svg, density_png, matrix_svg, warp_png
from pushforward.reporting.gallery.structure import jacobians, layer_matrices


@dataclasses.dataclass(frozen=True)
class Panel:
    """Pictures of the grid, the Gaussian and the square for flows of one depth, or the reason for none."""

    n_layers: int
    grid: str
    gaussian: str
    square: str
    failure: str


@dataclasses.dataclass(frozen=True)
class FitPicture:
    """The picture of a fitted shape and its test log-likelihood, or the reason for none."""

    picture: str
    log_likelihood: float | None
    failure: str


@dataclasses.dataclass(frozen=True)
class CardResult:
    """The contents of a card, as text and encoded pictures."""

    name: str
    n_layers: int
    panels: tuple[Panel, ...]
    fits: dict[str, FitPicture]
    jacobians: tuple[tuple[str, str], ...]
    matrices: tuple[tuple[str, str], ...]
    dims: tuple[int, ...]
    costs: dict[str, list[float]]
    cost_picture: str
    seconds: float
    cpu_seconds: float


def run_card(name: str, quick: bool, seed: int) -> CardResult:
    """Train the flows of one card, measure their costs and draw the pictures."""
    start, cpu_start = time.perf_counter(), time.process_time()
    card, budget = BY_NAME[name], QUICK if quick else FULL
    shapes, side = make_shapes(budget, seed), budget.warp_pixels
    panels, fits = [], {}
    for depth in budget.depths(card):
        shape = shapes[DEPTH_SHAPE]
        result = fit_shape(card, depth, shape, budget, seed, with_grid=True)
        pictures = ["", "", ""]
        if result.grid is not None and result.gaussian is not None and result.square is not None:
            densities = (density_png(values, shape.colour_max) for values in (result.gaussian, result.square))
            pictures = [warp_png(result.grid, shape.bounds, side), *densities]
        panels.append(Panel(depth, *pictures, result.failure))
        if depth == budget.n_layers(card):
            fits[DEPTH_SHAPE] = FitPicture(pictures[1], result.log_likelihood, result.failure)
    for shape_name, shape in shapes.items():
        if shape_name not in fits:
            result = fit_shape(card, budget.n_layers(card), shape, budget, seed, with_grid=False)
            picture = "" if result.gaussian is None else density_png(result.gaussian, shape.colour_max)
            fits[shape_name] = FitPicture(picture, result.log_likelihood, result.failure)
    measured = costs(card, budget, seed)
    dims = budget.dims_of(card)
    return CardResult(
        name, budget.n_layers(card), tuple(panels), {shape_name: fits[shape_name] for shape_name in shapes},
        tuple((matrix.title, matrix_svg(matrix)) for matrix in jacobians(card, budget, seed)),
        tuple((matrix.title, matrix_svg(matrix)) for matrix in layer_matrices(card, budget, seed)),
        dims, measured, cost_svg(dims, measured), time.perf_counter() - start,
        time.process_time() - cpu_start,
    )  # fmt: skip


def run_cards(
    cards: Sequence[Card], *, quick: bool, seed: int, report: Callable[[str], Any] = lambda name: None
) -> list[CardResult]:
    """Run all cards, in two processes if there are two cores.

    Each process is pinned to a core, so that they disturb the timings of each other as little as possible.

    Args:
        cards: the cards to run.
        quick: use the small budget, in this process.
        seed: seed of every random number.
        report: called with the name of each completed card.

    Raises:
        NumericError, and the errors of fitting: a card cannot be made.
    """
    if quick or len(cards) == 1 or (os.cpu_count() or 1) == 1:
        results = []
        for card in cards:
            results.append(run_card(card.name, quick, seed))
            report(card.name)
        return results
    context = get_context("spawn")
    cores: Any = context.Queue()
    for core in sorted(_cores())[:2]:
        cores.put(core)
    with ProcessPoolExecutor(2, context, initializer=_pin_to_core, initargs=(cores,)) as pool:
        # the later cards take longest: start with them, so that a short one ends last
        tasks: dict[Future[CardResult], str] = {
            pool.submit(run_card, card.name, quick, seed): card.name for card in reversed(cards)
        }
        try:
            by_name = {}
            for task in as_completed(tasks):
                by_name[tasks[task]] = task.result()
                report(tasks[task])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [by_name[card.name] for card in cards]


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _pin_to_core(cores: "Queue[int]") -> None:
    """Pin this process to a core before jax counts cores; do nothing on systems without affinities."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cores.get()})
