"""From a registry entry to a finished card, two cards at a time."""

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
from pushforward.reporting.gallery.measure import DEPTH_SHAPE, costs, drawn, shapes
from pushforward.reporting.gallery.pictures import cost_svg, density_png, matrix_svg, warp_png
from pushforward.reporting.gallery.structure import inside, jacobians


@dataclasses.dataclass(frozen=True)
class Panel:
    """What flows of one depth do: pictures of the grid, the Gaussian and the square, or the reason for none."""

    n_layers: int
    grid: str
    gaussian: str
    square: str
    failure: str


@dataclasses.dataclass(frozen=True)
class Fit:
    """A shape as the family learns it: the picture and the nats of the test rows, or the reason for none."""

    picture: str
    nats: float | None
    failure: str


@dataclasses.dataclass(frozen=True)
class Finished:
    """All that a card shows, as text and encoded pictures."""

    name: str
    n_layers: int
    panels: tuple[Panel, ...]
    fits: dict[str, Fit]
    jacobians: tuple[tuple[str, str], ...]
    inside: tuple[tuple[str, str], ...]
    dims: tuple[int, ...]
    costs: dict[str, list[float]]
    cost_picture: str
    seconds: float
    cpu_seconds: float


def finish(name: str, quick: bool, seed: int) -> Finished:
    """Train, measure and draw everything of one card."""
    start, busy = time.perf_counter(), time.process_time()
    card, budget = BY_NAME[name], QUICK if quick else FULL
    frames, side = shapes(budget, seed), budget.warp_pixels
    panels, fits = [], {}
    for depth in budget.depths(card):
        place = frames[DEPTH_SHAPE]
        seen = drawn(card, depth, place, budget, seed, whole=True)
        pictures = ["", "", ""]
        if seen.grid is not None and seen.gaussian is not None and seen.square is not None:
            densities = (density_png(values, place.brightest) for values in (seen.gaussian, seen.square))
            pictures = [warp_png(seen.grid, place.bounds, side), *densities]
        panels.append(Panel(depth, *pictures, seen.failure))
        if depth == budget.n_layers(card):
            fits[DEPTH_SHAPE] = Fit(pictures[1], seen.nats, seen.failure)
    for shape, place in frames.items():
        if shape not in fits:
            seen = drawn(card, budget.n_layers(card), place, budget, seed, whole=False)
            picture = "" if seen.gaussian is None else density_png(seen.gaussian, place.brightest)
            fits[shape] = Fit(picture, seen.nats, seen.failure)
    measured = costs(card, budget, seed)
    dims = budget.dims_of(card)
    return Finished(
        name, budget.n_layers(card), tuple(panels), {shape: fits[shape] for shape in frames},
        tuple((matrix.title, matrix_svg(matrix)) for matrix in jacobians(card, budget, seed)),
        tuple((matrix.title, matrix_svg(matrix)) for matrix in inside(card, budget, seed)),
        dims, measured, cost_svg(dims, measured), time.perf_counter() - start,
        time.process_time() - busy,
    )  # fmt: skip


def finish_all(
    cards: Sequence[Card], *, quick: bool, seed: int, report: Callable[[str], Any] = lambda name: None
) -> list[Finished]:
    """All cards, on two cores where there are two.

    Each process keeps to one core, so that what one does moves the other's times as little as may be.

    Args:
        cards: what to draw.
        quick: with the tiny budget, in this process.
        seed: decides every random number.
        report: called with the name of each card that is finished.

    Raises:
        NumericError, and what fitting raises: a card cannot be made.
    """
    if quick or len(cards) == 1 or (os.cpu_count() or 1) == 1:
        made = []
        for card in cards:
            made.append(finish(card.name, quick, seed))
            report(card.name)
        return made
    context = get_context("spawn")
    cores: Any = context.Queue()
    for core in sorted(_cores())[:2]:
        cores.put(core)
    with ProcessPoolExecutor(2, context, initializer=_keep_to_a_core, initargs=(cores,)) as pool:
        # the later cards take longest: begin with them, and the last one to end is a short one
        tasks: dict[Future[Finished], str] = {
            pool.submit(finish, card.name, quick, seed): card.name for card in reversed(cards)
        }
        try:
            finished = {}
            for task in as_completed(tasks):
                finished[tasks[task]] = task.result()
                report(tasks[task])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [finished[card.name] for card in cards]


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _keep_to_a_core(cores: "Queue[int]") -> None:
    """Before jax counts the cores it may use; where a system has no such wish, the process stays free."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cores.get()})
