"""A row of the zoo with its compiled program and its figures at every kind of weights."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tolerances import TOLERANCES, Tolerance
from zoo import CONTEXT_DIM, Row

from battery.ledger import SECONDS
from battery.points import N, hostile, ordinary
from battery.program import Figures, compile_figures
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.state import finalise

TRAINING_STEPS = 10


def randomised(trained: Any, spread: float, seed: int = 0) -> Any:
    """Normal noise of deviation `spread` added to every trained leaf."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf) + spread * random.normal(size=leaf.shape), leaf.dtype), trained
    )


def train_briefly(figures: Any, trained: Any, x: np.ndarray, context: Any) -> Any:
    """A few Adam steps on the likelihood of fixed data, with the gradient of the row's program."""
    first = jax.tree.map(np.zeros_like, jax.device_get(trained))
    second, leaves = first, jax.device_get(trained)
    for step in range(1, TRAINING_STEPS + 1):
        gradient = figures(leaves, x, x, context)[1].gradient[0]
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, gradient)
        leaves = jax.tree.map(
            lambda w, m, v, s=step: w - 0.01 * (m / (1 - 0.9**s)) / (np.sqrt(v / (1 - 0.99**s)) + 1e-8),
            leaves, first, second,
        )  # fmt: skip
        leaves = jax.tree.map(lambda new, old: np.asarray(new, old.dtype), leaves, first)
    return jax.tree.map(jnp.asarray, leaves)


@dataclass
class AtWeights:
    """The figures of a row at one set of weights."""

    trained: Any
    z: np.ndarray
    x: np.ndarray
    at: tuple[Figures, Figures]
    back: tuple[Figures, Figures]  # at.back: forward at the inverse's values, inverse at the forward's
    far: tuple[Figures, Figures]
    far_back: tuple[Figures, Figures]
    steep: tuple[Figures, Figures]  # as far, but clipped to where gradients of weights must be finite
    far_z: np.ndarray
    far_x: np.ndarray


class Case:
    """A row with its compiled program and its figures at every kind of weights."""

    def __init__(self, row: Row) -> None:
        start = time.perf_counter()
        self.row = row
        self.tolerance: Tolerance = TOLERANCES[row.tolerance]
        self.bijection = row.build()
        self.shape, self.size = self.bijection.shape, int(np.prod(self.bijection.shape))
        self.eps = float(jnp.finfo(jnp.result_type(float)).eps)
        self.is_double = self.eps < 1e-10
        random = np.random.default_rng(1)
        self.z, self.x = (ordinary(side, self.shape, random) for side in (row.z_side, row.x_side))
        has_context = self.bijection.context_shape is not None
        self.context = random.normal(size=(N, CONTEXT_DIM)) if has_context else None
        # gradients in a loop double the compilation time: only in float64, and for layers, of which flows consist; for
        # a scalar map a batch is no special case
        thorough = self.is_double and row.flow is None and self.shape != ()
        self.figures, fresh, self.reduced_products = compile_figures(self.bijection, thorough)
        leaves = {"fresh": fresh}
        if jax.tree.leaves(fresh):
            leaves["random"] = randomised(fresh, row.spread)
        if row.flow is not None:
            waves = np.sin(3 * np.arange(self.size) + np.arange(N)[:, None])
            data = waves.reshape(self.x.shape) + 0.5 * self.x
            leaves["trained"] = train_briefly(self.figures, fresh, data, self.context)
        self.weights = {kind: self._measure(trained) for kind, trained in leaves.items()}
        SECONDS[row.name] += time.perf_counter() - start

    def _measure(self, trained: Any) -> AtWeights:
        z, x, row = self.z, self.x, self.row
        at = self.figures(trained, z, x, self.context)
        back = self.figures(trained, at[1].out, at[0].out, self.context)
        far_z, far_x = hostile(row.z_side, self.shape, row), hostile(row.x_side, self.shape, row)
        far = self.figures(trained, far_z, far_x, self.context)
        far_back = self.figures(trained, far[1].out, far[0].out, self.context)
        reach, steep = row.largest_gradient, far
        if row.largest > reach:
            steep = self.figures(trained, np.clip(far_z, -reach, reach), np.clip(far_x, -reach, reach), self.context)
        return AtWeights(trained, z, x, at, back, far, far_back, steep, far_z, far_x)

    def with_weights(self, trained: Any) -> Any:
        return finalise(eqx.combine(trained, self.bijection))

    def flow_with(self, trained: Any) -> AbstractDistribution:
        flow = self.row.flow()
        return eqx.tree_at(lambda f: f.bijection, flow, self.with_weights(trained))


@functools.lru_cache(maxsize=1)
def case_of(row: Row) -> Case:
    """The case of a row. Only the last is cached, because tests run row by row."""
    return Case(row)


Row.__hash__ = lambda self: hash(self.name)
