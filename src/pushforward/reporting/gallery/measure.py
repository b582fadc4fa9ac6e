"""Training the flows of a card, and what they make of a grid, a Gaussian, a square and the test rows."""

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
from pushforward.numerics.programs import compiled_module, run_batched
from pushforward.reporting.gallery.card import Budget, Card
from pushforward.reporting.gallery.structure import shaken
from pushforward.reporting.plots.maps import mesh
from pushforward.train import fit

DEPTH_SHAPE = "moons"  # what the flows of growing depth are fitted to
SQUARE = math.sqrt(3.0)  # half the side of a square with the Gaussian's variance
_GRID_LINES, _COST_LAYERS, _COST_ROWS, _COST_NOISE = 17, 2, 64, 0.02


@dataclasses.dataclass(frozen=True)
class Frame:
    """A shape's rows and the square in which its density is drawn."""

    train: np.ndarray
    test: np.ndarray
    bounds: tuple[float, float, float, float]
    points: np.ndarray
    truth: np.ndarray
    true_log_likelihood: float

    @property
    def brightest(self) -> float:
        """The density that is drawn darkest: nearly the highest true one, the same in all pictures of the shape."""
        return float(np.quantile(self.truth[self.truth > 0], 0.995))


def frame(name: str, budget: Budget, seed: int) -> Frame:
    """Training and test rows of a shape, the pixels of its picture and the true density there."""
    train, test = toy(name, budget.n_rows, seed=seed), toy(name, budget.n_test, seed=seed + 1)
    low, high = np.quantile(test, (0.002, 0.998), axis=0)  # a few far points must not make the shape small
    centre, half = (low + high) / 2, 0.58 * float((high - low).max())
    bounds = (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
    step = 2 * half / budget.pixels
    middle = (np.arange(budget.pixels) + 0.5) * step - half
    points = np.stack(np.meshgrid(centre[0] + middle, centre[1] - middle), axis=-1).reshape(-1, 2)
    truth = np.exp(toy_log_density(name, points)).reshape(budget.pixels, budget.pixels)
    return Frame(train, test, bounds, points, truth, float(toy_log_density(name, test).mean()))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What a trained flow makes of the plane; `failure` says why there is nothing.

    Attributes:
        nats: mean log-density of the test rows.
        gaussian, square: densities (pixels, pixels) of what becomes of a standard Gaussian and of a uniform square.
        grid: (2, lines, points, 2) images of level and upright lines.
    """

    nats: float | None
    gaussian: np.ndarray | None = None
    square: np.ndarray | None = None
    grid: np.ndarray | None = None
    failure: str = ""


def drawn(card: Card, n_layers: int, place: Frame, budget: Budget, seed: int, whole: bool) -> Drawn:
    """Fit a flow of `n_layers` to a shape and look at it; with `whole` also at the square and the grid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a few rows outside a spline's box: the picture shows it
            flow, _ = fit(
                rolled(card.build(2, n_layers, seed)), place.train, key=seed, validation=0,
                batch_size=budget.batch_size, max_epochs=budget.n_epochs, progress=False,
            )  # fmt: skip
    except TrainingDiverged:
        return Drawn(None, failure="training diverged")
    rows = np.concatenate([place.test, place.points]).astype(np.float32)
    z, log_det = _mapped(_backward, flow, rows)
    with np.errstate(over="ignore"):
        log_prob = log_det - 0.5 * (z**2).sum(1) - math.log(2 * math.pi)
    nats = float(log_prob[: budget.n_test].mean())
    if not math.isfinite(nats):
        return Drawn(None, failure="the test rows have no finite density")
    side = (budget.pixels, budget.pixels)
    gaussian = np.exp(log_prob[budget.n_test :]).reshape(side)
    if not whole:
        return Drawn(nats, gaussian)
    inside = (np.abs(z) <= SQUARE).all(1)
    square = np.where(inside, np.exp(log_det) / (2 * SQUARE) ** 2, 0.0)[budget.n_test :].reshape(side)
    lines = mesh((-SQUARE, SQUARE, -SQUARE, SQUARE), _GRID_LINES)
    images, _ = _mapped(_forward, flow, lines.reshape(-1, 2).astype(np.float32))
    return Drawn(nats, gaussian, square, images.reshape(lines.shape))


def rolled(flow: Flow) -> Flow:
    """The flow with its layers in a loop of one at a time: 32 layers of an unrolled one compile for a minute."""
    stack, *outer = flow.bijection.bijections if isinstance(flow.bijection, Chain) else (flow.bijection,)
    if not isinstance(stack, Repeat) or stack.unroll == 1:
        return flow

    def layer(index: int) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[index, ...] if is_array(leaf) else leaf, stack.layers)

    return Flow(flow.base, Chain([Repeat([layer(index) for index in range(stack.n_layers)]), *outer]))


def shapes(budget: Budget, seed: int) -> dict[str, Frame]:
    """The frames of all shapes."""
    return {name: frame(name, budget, seed) for name in TOY_NAMES}


def costs(card: Card, budget: Budget, seed: int) -> dict[str, list[float]]:
    """Seconds a row of `log_prob` and of `sample`, one number for each dim of budget and card, without compiling."""
    found: dict[str, list[float]] = {"log_prob": [], "sample": []}
    for dim in budget.dims_of(card):
        flow = shaken(rolled(card.build(dim, _COST_LAYERS, seed)), seed, _COST_NOISE)
        rows = np.random.default_rng(seed).standard_normal((_COST_ROWS, dim)).astype(np.float32)
        calls = {"log_prob": partial(flow.log_prob, rows), "sample": partial(flow.sample, _COST_ROWS, key=seed)}
        for name, call in calls.items():
            found[name].append(_least(call, budget.timing_seconds) / _COST_ROWS)
    return found


def _least(call: Callable[[], Any], patience: float) -> float:
    """Seconds of the fastest call, after one that compiles."""
    jax.block_until_ready(call())
    least, end = math.inf, time.perf_counter() + patience
    while not math.isfinite(least) or time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(call())
        least = min(least, time.perf_counter() - start)
    return least


def _mapped(verb: Callable[..., Any], flow: Flow, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows through a flow, in float64 from there on."""
    out = run_batched(verb, compiled_module(flow), [rows], len(rows), 2)
    if out is None:
        raise NumericError("the gallery cannot be drawn inside another program of jax: call it outside jit.")
    first, second = (np.asarray(part, np.float64) for part in out)
    return first, second


def _backward(flow: Flow, x: Array) -> tuple[Array, Array]:
    return jax.vmap(flow.bijection.inverse_and_log_det)(x)


def _forward(flow: Flow, z: Array) -> tuple[Array, Array]:
    return jax.vmap(flow.bijection.forward_and_log_det)(z)
