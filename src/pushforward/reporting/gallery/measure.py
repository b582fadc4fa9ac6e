"""Trains the flows of a card, and maps a grid, a Gaussian, a square and the test rows through them."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from pushforward.bijections import Repeat
from pushforward.core.chain import Chain
from pushforward.core.flow import Flow
from pushforward.datasets import TOY_NAMES, toy, toy_log_density
from pushforward.errors import NumericError, TrainingDiverged
from pushforward.numerics.arrays import is_array
from pushforward.numerics.batches import run_batched
from pushforward.numerics.programs import compiled_module
from pushforward.reporting.gallery.card import Budget, Card
from pushforward.reporting.gallery.structure import perturbed
from pushforward.reporting.plots.maps import mesh
from pushforward.train import fit

DEPTH_SHAPE = "moons"  # target of the flows of increasing depth
SQUARE = math.sqrt(3.0)  # half the side of the square with the variance of the Gaussian
_GRID_LINES, _COST_LAYERS, _COST_ROWS, _COST_NOISE = 17, 2, 64, 0.02


@dataclasses.dataclass(frozen=True)
class Shape:
    """The rows of a shape, the square in which its density is drawn, and the true density there."""

    train: np.ndarray
    test: np.ndarray
    bounds: tuple[float, float, float, float]
    points: np.ndarray
    truth: np.ndarray
    true_log_likelihood: float

    @property
    def colour_max(self) -> float:
        """The density of the darkest colour: nearly the highest true density, the same in all pictures of the shape."""
        return float(np.quantile(self.truth[self.truth > 0], 0.995))


def make_shape(name: str, budget: Budget, seed: int) -> Shape:
    """Draw training and test rows of a shape, and evaluate its true density at the pixels of its picture."""
    train, test = toy(name, budget.n_rows, seed=seed), toy(name, budget.n_test, seed=seed + 1)
    low, high = np.quantile(test, (0.002, 0.998), axis=0)  # a few outliers must not make the shape small
    centre, half = (low + high) / 2, 0.58 * float((high - low).max())
    bounds = (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
    step = 2 * half / budget.pixels
    middle = (np.arange(budget.pixels) + 0.5) * step - half
    points = np.stack(np.meshgrid(centre[0] + middle, centre[1] - middle), axis=-1).reshape(-1, 2)
    truth = np.exp(toy_log_density(name, points)).reshape(budget.pixels, budget.pixels)
    return Shape(train, test, bounds, points, truth, float(toy_log_density(name, test).mean()))


@dataclasses.dataclass(frozen=True)
class ShapeFit:
    """A flow fitted to a shape, evaluated for the pictures; `failure` is the reason if there are none.

    Attributes:
        log_likelihood: mean log-density of the test rows.
        gaussian, square: densities (pixels, pixels) of the push-forwards of a standard Gaussian and a uniform square.
        grid: (2, lines, points, 2) images of horizontal and vertical lines.
    """

    log_likelihood: float | None
    gaussian: np.ndarray | None = None
    square: np.ndarray | None = None
    grid: np.ndarray | None = None
    failure: str = ""


def fit_shape(card: Card, n_layers: int, shape: Shape, budget: Budget, seed: int, with_grid: bool) -> ShapeFit:
    """Fit a flow of `n_layers` to a shape and evaluate its density; `with_grid` adds the square and the grid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows outside the box of a spline: the picture shows them
            flow, _ = fit(
                without_unroll(card.build(2, n_layers, seed)), shape.train, key=seed, validation=0,
                batch_size=budget.batch_size, max_epochs=budget.n_epochs, progress=False,
            )  # fmt: skip
    except TrainingDiverged:
        return ShapeFit(None, failure="training diverged")
    rows = np.concatenate([shape.test, shape.points]).astype(np.float32)
    z, log_det = _run(_inverse, flow, rows)
    with np.errstate(over="ignore"):
        log_prob = log_det - 0.5 * (z**2).sum(1) - math.log(2 * math.pi)
    log_likelihood = float(log_prob[: budget.n_test].mean())
    if not math.isfinite(log_likelihood):
        return ShapeFit(None, failure="the test rows have no finite density")
    side = (budget.pixels, budget.pixels)
    gaussian = np.exp(log_prob[budget.n_test :]).reshape(side)
    if not with_grid:
        return ShapeFit(log_likelihood, gaussian)
    is_inside = (np.abs(z) <= SQUARE).all(1)
    square = np.where(is_inside, np.exp(log_det) / (2 * SQUARE) ** 2, 0.0)[budget.n_test :].reshape(side)
    lines = mesh((-SQUARE, SQUARE, -SQUARE, SQUARE), _GRID_LINES)
    images, _ = _run(_forward, flow, lines.reshape(-1, 2).astype(np.float32))
    return ShapeFit(log_likelihood, gaussian, square, images.reshape(lines.shape))


def without_unroll(flow: Flow) -> Flow:
    """The flow with `unroll=1`: 32 unrolled layers take a minute to compile."""
    stack, *outer = flow.bijection.bijections if isinstance(flow.bijection, Chain) else (flow.bijection,)
    if not isinstance(stack, Repeat) or stack.unroll == 1:
        return flow

    def layer(index: int) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[index, ...] if is_array(leaf) else leaf, stack.layers)

    return Flow(flow.base, Chain([Repeat([layer(index) for index in range(stack.n_layers)]), *outer]))


def make_shapes(budget: Budget, seed: int) -> dict[str, Shape]:
    """All shapes by name."""
    return {name: make_shape(name, budget, seed) for name in TOY_NAMES}


def costs(card: Card, budget: Budget, seed: int) -> dict[str, list[float]]:
    """Seconds a row of `log_prob` and of `sample` at each dim of budget and card, without compilation."""
    seconds: dict[str, list[float]] = {"log_prob": [], "sample": []}
    for dim in budget.dims_of(card):
        flow = perturbed(without_unroll(card.build(dim, _COST_LAYERS, seed)), seed, _COST_NOISE)
        rows = np.random.default_rng(seed).standard_normal((_COST_ROWS, dim)).astype(np.float32)
        calls = {"log_prob": partial(flow.log_prob, rows), "sample": partial(flow.sample, _COST_ROWS, key=seed)}
        for name, call in calls.items():
            seconds[name].append(_fastest(call, budget.timing_seconds) / _COST_ROWS)
    return seconds


def _fastest(call: Callable[[], Any], duration: float) -> float:
    """Seconds of the fastest call, after a first call that compiles."""
    jax.block_until_ready(call())
    fastest, end = math.inf, time.perf_counter() + duration
    while not math.isfinite(fastest) or time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(call())
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def _run(function: Callable[..., Any], flow: Flow, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map rows through a flow; the results are float64."""
    outputs = run_batched(function, compiled_module(flow), [rows], len(rows), 2)
    if outputs is None:
        raise NumericError("the gallery cannot be drawn inside another program of jax: call it outside jit.")
    first, second = (np.asarray(part, np.float64) for part in outputs)
    return first, second


def _inverse(flow: Flow, x: Array) -> tuple[Array, Array]:
    return jax.vmap(flow.bijection.inverse_and_log_det)(x)


def _forward(flow: Flow, z: Array) -> tuple[Array, Array]:
    return jax.vmap(flow.bijection.forward_and_log_det)(z)
