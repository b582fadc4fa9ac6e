"""The properties that every bijection and every flow must have, and the one program that shows them.

For each row of the zoo one compiled program takes weights and points and returns all figures of both directions:
values, log-determinants, Jacobians, and gradients, once mapped over the batch (the way of training and scoring) and
once in a loop over single samples. Start weights, random weights and briefly trained ones share it.
"""

import functools
import itertools
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tolerances import BALL_STANDARD_ERRORS, INTEGRAL, REORDERED, TOLERANCES, Tolerance
from zoo import CIRCLE, CONTEXT_DIM, LINE, OPEN, POSITIVE, UNIT, Row

import pushforward as pf
from pushforward.distribution import AbstractDistribution
from pushforward.fields import is_array

N = 64
TRAINING_STEPS = 10
GRID = {1: 4096, 2: 512}
N_SAMPLES = {1: 8 * 1024, 2: 8 * 1024, 3: 64 * 1024, 5: 64 * 1024}


# ---------------------------------------------------------------------------------------------------------- points


def ordinary(side: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Points (N, *shape) where most of a distribution lives."""
    noise = 1.5 * random.normal(size=(N, *shape))
    return {
        LINE: noise,
        POSITIVE: np.exp(noise),
        UNIT: 1 / (1 + np.exp(-noise)),
        OPEN: np.tanh(noise),
        CIRCLE: np.pi * np.tanh(noise),
    }[side]


def hostile(side: str, shape: tuple[int, ...], row: Row) -> np.ndarray:
    """Points (N, *shape) at which formulas fail: zero, places where they change, one ulp beside these, far away."""
    near = [*row.places, *(np.nextafter(np.float32(p), np.float32(d)) for p in row.places for d in (-np.inf, np.inf))]
    far = [v for v in (1e-30, 1.0, 10.0, 1e3, row.largest) if v <= row.largest]
    values = {
        LINE: [0.0, *near, *(-v for v in near), *far, *(-v for v in far)],
        POSITIVE: [1e-30, 1e-6, 1.0, 1e3, 1e30],
        UNIT: [1e-30, 1e-6, 0.5, 1 - 1e-6],
        OPEN: [-1 + 1e-6, -0.5, 0.0, 1e-30, 1 - 1e-6],
        CIRCLE: [0.0, *near, *(-v for v in near), 1.0],
    }[side]
    values = np.asarray(values, np.float64)
    if side == CIRCLE:  # the edge of the circle in float32 lies a little outside the one in float64
        values = np.clip(values, -np.pi, np.nextafter(np.pi, 0))
    size = int(np.prod(shape))
    # first the same value in every coordinate, then values mixed
    rows = [np.full(size, v) for v in values] + [
        np.roll(values, 5 * i)[np.arange(size) % values.size] for i in range(N)
    ]
    return np.stack(rows[:N]).reshape(N, *shape)


# ----------------------------------------------------------------------------------------------------- the program


@dataclass
class Side:
    """Figures of one direction at N points; D is the event size.

    Attributes:
        out, log_det: mapped over the batch, (N, *shape) and (N,).
        loop_out, loop_log_det: the same in a loop over samples.
        jacobian: (N, D, D); log_det_gradient: (N, D).
        context_jacobian: (N, D + 1, context), the log-determinant last, or None.
        influence: tree of the trained leaves, the greatest |d sum over points of an output / d leaf| over outputs.
        gradient: of one loss with respect to (trained leaves, points).
        loop_gradient: the same from a loop, in float64 only (it doubles the time of compilation), else None.
    """

    out: Any
    log_det: Any
    loop_out: Any
    loop_log_det: Any
    jacobian: Any
    log_det_gradient: Any
    context_jacobian: Any
    influence: Any
    gradient: Any
    loop_gradient: Any


def _side(combine: Any, trained: Any, points: Any, context: Any, inverse: bool, thorough: bool) -> dict[str, Any]:
    shape = points.shape[1:]
    size = int(np.prod(shape))

    def verb(trained: Any, point: Any, context: Any) -> Any:
        bijection = combine(trained)
        return (bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det)(point, context)

    def weigh(out: Any, log_det: Any) -> Any:
        """Cotangents of a loss: for the inverse those of the mean negative log-likelihood under a normal base."""
        if inverse:
            return jnp.clip(out, -1e3, 1e3) / N, jnp.full_like(log_det, -1.0 / N)
        fixed = jnp.cos(jnp.arange(size, dtype=out.dtype)).reshape(shape) / N
        return jnp.broadcast_to(fixed, out.shape), jnp.full_like(log_det, 1.0 / N)

    mapped = jax.vmap(verb, (None, 0, None if context is None else 0))
    (out, log_det), pull = jax.vjp(mapped, trained, points, context)
    # One backward pass for all: samples do not meet, so the cotangent of one output, the same in every row, gives that
    # row of every sample's Jacobian. The last cotangent is the loss.
    unit = jnp.broadcast_to(jnp.eye(size + 1, dtype=points.dtype)[:, None], (size + 1, N, size + 1))
    weights = weigh(out, log_det)
    cotangents = (
        jnp.concatenate([unit[..., :size].reshape(-1, N, *shape), weights[0][None]]),
        jnp.concatenate([unit[..., size], weights[1][None]]),
    )
    by_leaf, by_point, by_context = jax.vmap(pull)(cotangents)
    rows = jnp.moveaxis(by_point[:-1].reshape(size + 1, N, size), 0, 1)
    figures = {
        "out": out,
        "log_det": log_det,
        "jacobian": rows[:, :size],
        "log_det_gradient": rows[:, size],
        "context_jacobian": None if context is None else jnp.moveaxis(by_context[:-1], 0, 1),
        "influence": jax.tree.map(lambda g: jnp.abs(g[:-1]).max(0), by_leaf),
        "gradient": (jax.tree.map(lambda g: g[-1], by_leaf), by_point[-1]),
        "loop_gradient": None,
    }

    def one(inputs: Any) -> Any:
        point, context = inputs
        if not thorough:
            return verb(trained, point, context)
        (out, log_det), pull = jax.vjp(verb, trained, point, context)
        return out, log_det, pull(weigh(out, log_det))[:2]

    figures["loop_out"], figures["loop_log_det"], *gradient = jax.lax.map(one, (points, context))
    if thorough:
        by_leaf, by_point = gradient[0]
        figures["loop_gradient"] = (jax.tree.map(lambda g: g.sum(0), by_leaf), by_point)
    return figures


def compile_figures(bijection: Any) -> tuple[Any, Any]:
    """The row's one program, (trained, z, x, context) -> both sides' figures, and the trained leaves."""
    trained, rest = eqx.partition(bijection, pf.trainable(bijection))
    arrays, static = eqx.partition(rest, is_array)

    @jax.jit
    def program(trained: Any, arrays: Any, z: Any, x: Any, context: Any) -> Any:
        def combine(trained: Any) -> Any:
            return eqx.combine(trained, arrays, static)

        thorough = jax.config.jax_enable_x64
        return tuple(
            _side(combine, trained, points, context, inverse, thorough) for points, inverse in ((z, False), (x, True))
        )

    def figures(trained: Any, z: Any, x: Any, context: Any) -> tuple[Side, Side]:
        dtype = jnp.result_type(float)
        z, x = (jnp.asarray(v, dtype) for v in (z, x))
        context = None if context is None else jnp.asarray(context, dtype)
        sides = jax.device_get(program(trained, arrays, z, x, context))
        return Side(**sides[0]), Side(**sides[1])

    return figures, trained


# ---------------------------------------------------------------------------------------------------- weights


def randomised(trained: Any, spread: float, seed: int = 0) -> Any:
    """Normal noise of deviation `spread` added to every trained leaf."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf) + spread * random.normal(size=leaf.shape), leaf.dtype), trained
    )


def briefly_trained(figures: Any, trained: Any, x: np.ndarray, context: Any) -> Any:
    """A few Adam steps on the likelihood of fixed rows; the gradient is the program's own."""
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


# --------------------------------------------------------------------------------------------------- one case


@dataclass
class Weighted:
    """The figures of one row at one set of weights."""

    trained: Any
    z: np.ndarray
    x: np.ndarray
    at: tuple[Side, Side]
    back: tuple[Side, Side]  # at.back: forward at the inverse's values, inverse at the forward's
    far: tuple[Side, Side]
    far_back: tuple[Side, Side]
    steep: tuple[Side, Side]  # as far, but no further than the gradients of weights may be asked for
    far_z: np.ndarray
    far_x: np.ndarray


class Case:
    """One row with its program and its figures at every kind of weights."""

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
        self.figures, fresh = compile_figures(self.bijection)
        leaves = {"fresh": fresh}
        if jax.tree.leaves(fresh):
            leaves["random"] = randomised(fresh, row.spread)
        if row.flow is not None:
            data = np.stack([np.sin(3 * i + np.arange(N)) + 0.5 * self.x[:, i] for i in range(self.size)], 1)
            leaves["trained"] = briefly_trained(self.figures, fresh, data, self.context)
        self.weights = {kind: self._measure(trained) for kind, trained in leaves.items()}
        SECONDS[row.name] += time.perf_counter() - start

    def _measure(self, trained: Any) -> Weighted:
        z, x, row = self.z, self.x, self.row
        at = self.figures(trained, z, x, self.context)
        back = self.figures(trained, at[1].out, at[0].out, self.context)
        far_z, far_x = hostile(row.z_side, self.shape, row), hostile(row.x_side, self.shape, row)
        far = self.figures(trained, far_z, far_x, self.context)
        far_back = self.figures(trained, far[1].out, far[0].out, self.context)
        reach, steep = row.largest_gradient, far
        if row.largest > reach:
            steep = self.figures(trained, np.clip(far_z, -reach, reach), np.clip(far_x, -reach, reach), self.context)
        return Weighted(trained, z, x, at, back, far, far_back, steep, far_z, far_x)

    def with_weights(self, trained: Any) -> Any:
        return eqx.combine(trained, self.bijection)

    def flow_with(self, trained: Any) -> AbstractDistribution:
        flow = self.row.flow()
        return eqx.tree_at(lambda f: f.bijection, flow, self.with_weights(trained))


@functools.lru_cache(maxsize=1)
def case_of(row: Row) -> Case:
    """The case of a row; only the last is kept, tests run row by row."""
    return Case(row)


Row.__hash__ = lambda self: hash(self.name)


# ----------------------------------------------------------------------------------------------------- bounds


def flat(values: Any) -> np.ndarray:
    """(N, D) in float64."""
    return np.asarray(values, np.float64).reshape(len(values), -1)


def norms(matrices: np.ndarray) -> np.ndarray:
    """Spectral norms (N,); an estimate from above (Frobenius), never infinite without reason."""
    return np.sqrt(np.sum(np.asarray(matrices, np.float64) ** 2, (1, 2)))


def condition_of(matrices: np.ndarray) -> np.ndarray:
    """(1 + greatest) / least singular value (N,): entries of a Jacobian err by eps, be they ever so small."""
    singular = np.linalg.svd(np.nan_to_num(np.asarray(matrices, np.float64)), compute_uv=False)
    return (1 + singular[:, 0]) / np.maximum(singular[:, -1], 1e-200)


def sizes(values: Any) -> np.ndarray:
    return np.abs(flat(values)).max(1)


def round_trip_bound(case: Case, start: Any, there: Side, back: Side) -> np.ndarray:
    """C eps kappa: what rounding at the image, seen through the inverse Jacobian, does to the start point."""
    away, home = norms(there.jacobian), norms(back.jacobian)
    kappa = (1 + sizes(start)) + home * (1 + sizes(there.out)) + home * away * sizes(start)
    return case.tolerance.factor * case.eps * kappa


def log_det_bound(case: Case, start: Any, there: Side) -> np.ndarray:
    """C eps times the size of the sum, the conditioning of the Jacobian, and the log-determinant's own slope."""
    condition = condition_of(there.jacobian)
    slope = np.abs(flat(there.log_det_gradient)).sum(1) * (1 + sizes(start))
    return case.tolerance.factor * case.eps * (case.size + condition + slope + np.abs(there.log_det))


def within(error: np.ndarray, bound: np.ndarray, what: str) -> list[str]:
    """A sentence where an error exceeds its bound or is NaN."""
    wrong = ~(error <= bound)
    if not wrong.any():
        return []
    index = int(np.nanargmax(np.where(wrong, error / np.where(bound > 0, bound, 1e-300), 0)))
    return [f"{what}: error {error[index]:.3g} at point {index}, allowed {bound[index]:.3g}, {wrong.sum()} points"]


# ------------------------------------------------------------------------------------------------- properties


def round_trip(case: Case, w: Weighted) -> list[str]:
    wrong = []
    pairs = [("z -> x -> z", w.z, w.at[0], w.back[1]), ("x -> z -> x", w.x, w.at[1], w.back[0])]
    for what, start, there, back in pairs:
        error = np.abs(flat(back.out) - flat(np.asarray(start, there.out.dtype))).max(1)
        error = wrapped(case, error)
        wrong += within(error, round_trip_bound(case, start, there, back), what)
        if case.is_double:
            ceiling = np.full(N, case.tolerance.ceiling) * (1 + sizes(start) + norms(back.jacobian))
            wrong += within(error, ceiling, f"{what}, ceiling of its class")
    return wrong


def wrapped(case: Case, error: np.ndarray) -> np.ndarray:
    return np.minimum(error, np.abs(error - 2 * np.pi)) if case.row.x_side == CIRCLE else error


def log_det_is_autodiff(case: Case, w: Weighted) -> list[str]:
    wrong = []
    for what, start, side in (("forward", w.z, w.at[0]), ("inverse", w.x, w.at[1])):
        exact = np.linalg.slogdet(np.asarray(side.jacobian, np.float64))[1]
        error = np.abs(np.asarray(side.log_det, np.float64) - exact)
        wrong += within(error, log_det_bound(case, start, side), what)
        if case.is_double:
            condition = condition_of(side.jacobian)
            slope = np.abs(flat(side.log_det_gradient)).sum(1) * (1 + sizes(start))
            ceiling = case.tolerance.log_det_ceiling * (1 + condition + slope)
            wrong += within(error, ceiling, f"{what}, ceiling of its class")
    return wrong


def log_dets_cancel(case: Case, w: Weighted) -> list[str]:
    wrong = []
    for what, there, back in (("z -> x -> z", w.at[0], w.back[1]), ("x -> z -> x", w.at[1], w.back[0])):
        error = np.abs(np.asarray(there.log_det, np.float64) + np.asarray(back.log_det, np.float64))
        wrong += within(error, log_det_bound(case, there.out, back), what)
    return wrong


def finite_when_hostile(case: Case, w: Weighted) -> list[str]:
    wrong, of_weights = [], ("influence", "gradient", "loop_gradient")
    for what, far, steep in (("forward", w.far[0], w.steep[0]), ("inverse", w.far[1], w.steep[1])):
        figures = {**vars(far), **{name: vars(steep)[name] for name in of_weights}}
        for path, leaf in jax.tree_util.tree_leaves_with_path(figures):
            bad = ~np.isfinite(np.asarray(leaf, np.float64))
            if bad.any():
                wrong.append(f"{what}{jax.tree_util.keystr(path)}: {bad.sum()} not finite, first {np.argwhere(bad)[0]}")
    return wrong


def right_when_hostile(case: Case, w: Weighted) -> list[str]:
    """Round trip and log-determinant at hostile points, where both sides are the same set."""
    if case.row.z_side != case.row.x_side:
        return []
    wrong = []
    for what, start, there, back in (
        ("z -> x -> z", w.far_z, w.far[0], w.far_back[1]), ("x -> z -> x", w.far_x, w.far[1], w.far_back[0]),
    ):  # fmt: skip
        start = np.asarray(start, there.out.dtype)
        error = wrapped(case, np.abs(flat(back.out) - flat(start)).max(1))
        near = sizes(start) <= 1e4
        if case.row.flow is not None:  # between the layers of a flow numbers may stand further out than at its ends
            error = np.where(near, error, 0.0)
        wrong += within(error, round_trip_bound(case, start, there, back), what)
        exact = np.linalg.slogdet(np.nan_to_num(np.asarray(there.jacobian, np.float64)))[1]
        error = np.where(near, np.abs(there.log_det - exact), 0.0)
        wrong += within(error, log_det_bound(case, start, there), f"{what}: log-determinant")
    return wrong


def mapped_is_looped(case: Case, w: Weighted) -> list[str]:
    """A batch gives what single samples give: values, log-determinants, gradients of weights and of points."""
    wrong = []
    for what, sides in (("ordinary", w.at), ("hostile", w.far)):
        for name, start, side in zip(("forward", "inverse"), (w.z, w.x), sides, strict=True):
            if what == "hostile" and case.row.largest > 1e4:
                continue  # sums of terms of 1e30 cancel: only their being finite says something
            bound = REORDERED * case.eps * (1 + sizes(side.loop_out) + norms(side.jacobian) * (1 + sizes(start)))
            wrong += within(wrapped(case, np.abs(flat(side.out) - flat(side.loop_out)).max(1)), bound, f"{name} {what}")
            error = np.abs(np.asarray(side.log_det, np.float64) - side.loop_log_det)
            wrong += within(error, 10 * log_det_bound(case, start, side), f"{name} {what}: log_det")
            if what == "hostile" or side.loop_gradient is None:
                continue
            pairs = zip(
                jax.tree_util.tree_leaves_with_path(side.gradient), jax.tree.leaves(side.loop_gradient), strict=True
            )
            for (path, leaf), looped in pairs:
                error, scale = np.abs(leaf - looped).max(initial=0), 1 + np.abs(looped).max(initial=0)
                if not error <= REORDERED * 20 * case.eps * scale:
                    wrong.append(f"{name}: gradient{jax.tree_util.keystr(path)} differs by {error:.3g} of {scale:.3g}")
    return wrong


def gradient_reaches(case: Case, w: Weighted) -> list[str]:
    """Every trained leaf moves some output; in a `Repeat`, the leaf of every layer."""
    wrong = []
    for name, side in zip(("forward", "inverse"), w.at, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(side.influence):
            repeated = any(getattr(step, "name", "") == "layers" for step in path)
            parts = leaf.reshape(leaf.shape[0], -1).max(1) if repeated else leaf.max(initial=0)
            if not np.all(parts > 0):
                wrong.append(f"{name}: nothing depends on {jax.tree_util.keystr(path)} {parts}")
    return wrong if not case.row.dead else ([] if wrong else [f"exempt ({case.row.dead}), but every leaf is alive"])


def context_reaches(case: Case, w: Weighted) -> list[str]:
    """Every component of the context moves every output that it should, and no other."""
    if case.context is None:
        return []
    expected = case.row.context_reaches
    expected = np.ones(case.size, bool) if expected is None else expected.reshape(-1)
    wrong = []
    for name, side in zip(("forward", "inverse"), w.at, strict=True):
        moved = np.abs(side.context_jacobian[:, :-1]).max(0) > 0
        astray = [index for index in range(case.size) if (moved[index] != expected[index]).any()]
        wrong += [f"{name}: output {index} is moved by context components {moved[index]}" for index in astray]
        if not (np.abs(side.context_jacobian[:, -1]).max(0) > 0).any() and case.row.tolerance != "exact":
            volume = np.abs(side.log_det_gradient).max()
            if volume > 0:
                wrong.append(f"{name}: the log-determinant ignores the context")
    return wrong


def dependence(case: Case, w: Weighted) -> list[str]:
    """Perturb each input in turn: exactly the outputs of the declared matrix move."""
    expected = case.row.depends
    if expected is None:
        return []
    wrong = []
    # one point in every row; row j moves coordinate j, the last row none
    base = np.repeat(-np.abs(case.z[:1]).reshape(1, -1), N, 0)  # the negative side, where a leaky ReLU bends
    base[np.arange(case.size), np.arange(case.size)] += 0.1
    context = None if case.context is None else np.repeat(case.context[:1], N, 0)
    points = base.reshape(N, *case.shape)
    sides = case.figures(w.trained, points, points, context)
    for name, side, closed in zip(("forward", "inverse"), sides, (expected, _closure(expected)), strict=True):
        out = flat(side.out)
        moved = (out[: case.size] != out[-1]).T
        if (moved & ~closed).any():
            wrong.append(f"{name}: outputs depend on too much\n{moved.astype(int)}, expected\n{closed.astype(int)}")
        if name == "forward" and (expected & ~moved).any():
            wrong.append(f"{name}: outputs depend on too little\n{moved.astype(int)}, expected\n{expected.astype(int)}")
    return wrong


def _closure(matrix: np.ndarray) -> np.ndarray:
    """Where the inverse of a matrix of this pattern may be non-zero."""
    pattern = np.linalg.inv(np.where(matrix, np.random.default_rng(0).uniform(1, 2, matrix.shape), 0.0))
    return np.abs(pattern) > 1e-12


def starts_at_identity(case: Case, w: Weighted) -> list[str]:
    if not case.row.is_identity:
        return []
    error = np.abs(flat(w.at[0].out) - flat(w.z)).max(1)
    bound = 20 * case.eps * (1 + sizes(w.z))
    return within(error, bound, "forward") + within(np.abs(w.at[0].log_det), bound, "log-determinant")


def is_monotone(case: Case, w: Weighted) -> list[str]:
    """Scalar maps only: values increase from point to point, up to a few ulp."""
    if case.shape != () or case.row.z_side == CIRCLE:
        return []
    wrong = []
    for name, start, side in zip(("forward", "inverse"), (w.z, w.x), w.at, strict=True):
        steps = np.diff(np.asarray(side.out, np.float64)[np.argsort(start)])
        if (steps < -4 * case.eps * np.abs(side.out).max()).any():
            wrong.append(f"{name}: not increasing, least step {steps.min():.3g}")
    return wrong


def dtype_is_kept(case: Case, w: Weighted) -> list[str]:
    """Output type = input type, in JAX's default and, under x64, for a module cast to float32."""
    types = [jnp.result_type(float)] + ([jnp.float32] if case.is_double else [])
    wrong = []
    for dtype in types:
        cast = jax.tree.map(
            lambda leaf, dtype=dtype: (
                leaf.astype(dtype) if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf
            ),
            case.bijection,
        )
        point = jax.ShapeDtypeStruct(case.shape, dtype)
        context = None if case.context is None else jax.ShapeDtypeStruct((CONTEXT_DIM,), dtype)
        for verb in (cast.forward_and_log_det, cast.inverse_and_log_det):
            out, log_det = jax.eval_shape(verb, point, context)
            if (out.dtype, log_det.dtype) != (dtype, dtype):
                wrong.append(f"{verb.__name__} of {dtype.__name__}: {out.dtype}, {log_det.dtype}")
    return wrong


def jit_is_eager(case: Case, w: Weighted) -> list[str]:
    """One sample without a jit around it: op by op, so in float64 only, and for layers, of which flows are made."""
    if case.row.flow is not None or not case.is_double:
        return []
    bijection = case.with_weights(w.trained)
    context = None if case.context is None else jnp.asarray(case.context[0])
    wrong = []
    for name, start, side in zip(("forward", "inverse"), (w.z, w.x), w.at, strict=True):
        verb = bijection.inverse_and_log_det if name == "inverse" else bijection.forward_and_log_det
        out, log_det = verb(jnp.asarray(start[0], side.out.dtype), context)
        bound = REORDERED * case.eps * (1 + sizes(side.out)[:1] + norms(side.jacobian)[:1] * (1 + sizes(start)[:1]))
        error = wrapped(case, np.abs(flat(np.asarray(out)[None]) - flat(side.out[:1])).max(1))
        wrong += within(error, bound, name)
        error = np.abs(np.asarray(log_det)[None] - side.log_det[:1])
        wrong += within(error, 10 * log_det_bound(case, start, side)[:1], f"{name}: log_det")
    return wrong


# -------------------------------------------------------------------------------------------------- densities


def log_base(side: str, z: np.ndarray) -> np.ndarray:
    """A normalised density on a side of a scalar map."""
    if side == LINE:
        return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    return {POSITIVE: -z, UNIT: 0 * z, OPEN: 0 * z - np.log(2), CIRCLE: 0 * z - np.log(2 * np.pi)}[side]


def scalar_integral(case: Case, w: Weighted) -> list[str]:
    """Scalar maps: the pushforward of a density on the z side integrates to one over the whole x side."""
    if case.shape != ():
        return []
    edges = {LINE: (-8.0, 8.0), POSITIVE: (1e-6, 30.0), UNIT: (1e-5, 1 - 1e-5), OPEN: (-1 + 1e-5, 1 - 1e-5)}
    step_of = {LINE: np.abs, POSITIVE: lambda v: np.abs(np.log(v)), UNIT: lambda v: np.abs(np.log(v) - np.log1p(-v)),
               OPEN: lambda v: np.abs(np.arctanh(v))}  # fmt: skip
    side = case.row.x_side
    if side == CIRCLE:
        reach = np.pi
    else:
        ends = np.resize(edges[case.row.z_side], N)
        ends = np.asarray(case.figures(w.trained, ends, case.x, None)[0].out[:2], np.float64)
        inner = {UNIT: (1e-12, 1 - 1e-7), OPEN: (-1 + 1e-7, 1 - 1e-7)}.get(side, (-np.inf, np.inf))
        reach = max(step_of[side](np.clip(ends, *inner)).max(), 10.0)
        reach = min(reach, 12.0) if side in (UNIT, OPEN) else reach
    u = (np.arange(GRID[1]) + 0.5) / GRID[1] * 2 * reach - reach
    x, log_width = {
        LINE: lambda: (u, 0 * u),
        CIRCLE: lambda: (u, 0 * u),
        POSITIVE: lambda: (np.exp(u), u),
        UNIT: lambda: (1 / (1 + np.exp(-u)), -np.logaddexp(0, u) - np.logaddexp(0, -u)),
        OPEN: lambda: (np.tanh(u), np.log(4.0) - 2 * np.logaddexp(u, -u)),
    }[side]()
    total = 0.0
    for start in range(0, u.size, N):
        part = slice(start, start + N)
        inverse = case.figures(w.trained, case.z, x[part], None)[1]
        z = np.asarray(inverse.out, np.float64)
        keep = np.isfinite(z)  # float32 rounds the outermost points of (0, 1) onto its ends
        log_density = log_base(case.row.z_side, z[keep]) + inverse.log_det[keep] + log_width[part][keep]
        total += np.exp(log_density).sum() * 2 * reach / u.size
    return [] if abs(total - 1) <= INTEGRAL else [f"integrates to {total:.5f}"]


def density_integrates(case: Case, w: Weighted) -> list[str]:
    """Flows: a grid in one and two dimensions, the volume of a ball above."""
    if case.row.flow is None:
        return scalar_integral(case, w)
    flow = case.flow_with(w.trained)
    context = None if case.context is None else case.context[0]
    x, scores = (
        np.asarray(v, np.float64) for v in flow.sample_and_log_prob(N_SAMPLES[case.size], key=7, context=context)
    )
    if case.size > 2:
        return ball_volume(flow, context, x, scores)
    low, high = x.min(0), x.max(0)
    low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)
    axes = [low[i] + (np.arange(GRID[case.size]) + 0.5) / GRID[case.size] * (high - low)[i] for i in range(case.size)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, case.size)
    cell = np.prod((high - low) / GRID[case.size])
    total = float(np.exp(np.asarray(flow.log_prob(grid, context), np.float64)).sum() * cell)
    return [] if abs(total - 1) <= INTEGRAL else [f"integrates to {total:.5f}"]


def ball_volume(flow: AbstractDistribution, context: Any, x: np.ndarray, scores: np.ndarray) -> list[str]:
    """The volume of that part of a ball where the density exceeds a threshold, found in two ways.

    Over samples of the flow it is the average of 1[x in ball, p(x) > t] / p(x), over uniform points of the ball the
    share with p > t. The threshold is set by points put aside, such that thousands of samples are expected above it:
    both averages are then of bounded numbers. False-alarm rate 6e-7 (five standard errors); the standard error must be
    below 4 %, so that a density wrong by a fifth is seen.
    """
    random, dim = np.random.default_rng(2), x.shape[1]
    aside, ranks = x[:1024], np.argsort(scores[:1024])
    direction = random.normal(size=(N_SAMPLES[1], dim))
    length = random.uniform(size=(len(direction), 1)) ** (1 / dim)
    unit = length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    x, scores = x[1024:], scores[1024:]
    # the largest ball in which the density does not vary too much, about the densest point or about calmer ones
    for place, share in itertools.product((-1, 768, 512, 256), (0.1, 0.03, 0.01, 0.003)):
        centre = aside[ranks[place]]
        radius = np.quantile(np.linalg.norm(aside - centre, axis=1), share)
        volume = np.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim
        in_ball = np.asarray(flow.log_prob(centre + radius * unit, context), np.float64)
        highest = np.sort(in_ball[:1024])[::-1]
        expected = np.exp(highest) * volume * np.arange(1, 1025) / 1024 * len(x)
        enough = np.flatnonzero(expected >= 2000)
        if enough.size and enough[-1] >= 50:
            break
    else:
        return ["the density varies too much for this test: take a smaller spread of weights"]
    threshold = highest[enough[-1]]
    shares = volume * (in_ball[1024:] > threshold)
    inside = (np.linalg.norm(x - centre, axis=1) < radius) & (scores > threshold)
    weights = np.where(inside, np.exp(-np.where(inside, scores, 0.0)), 0.0)
    means, errors = zip(*((v.mean(), v.std() / np.sqrt(v.size)) for v in (shares, weights)), strict=True)
    deviation = float(np.hypot(*errors))
    if abs(means[0] - means[1]) <= BALL_STANDARD_ERRORS * deviation and deviation < 0.04 * means[0]:
        return []
    return [f"volume {means[1]:.4g} by samples, {means[0]:.4g} by uniform points, standard error {deviation:.2g}"]


def sample_scores_agree(case: Case, w: Weighted) -> list[str]:
    """Flows: the log-density that comes with a sample is the one that log_prob gives, each time the same bits."""
    if case.row.flow is None:
        return []
    flow = case.flow_with(w.trained)
    context = None if case.context is None else case.context[0]
    x, reported = flow.sample_and_log_prob(1024, key=5, context=context)
    scores = np.asarray(flow.log_prob(x, context), np.float64)
    wrong = [] if np.array_equal(scores, flow.log_prob(x, context)) else ["log_prob twice gives two answers"]
    here = np.asarray(x[:N], np.float64)
    same = None if case.context is None else np.repeat(case.context[:1], N, 0)
    side = case.figures(w.trained, here, here, same)[1]
    slope = np.abs(flat(side.out)).sum(1) * norms(side.jacobian) * (1 + sizes(here)) + np.abs(scores[:N])
    bound = log_det_bound(case, here, side) + case.tolerance.factor * case.eps * slope
    return wrong + within(np.abs(scores - np.asarray(reported, np.float64))[:N], bound, "reported log_prob")


def small_batches(case: Case, w: Weighted) -> list[str]:
    """Flows: batches of no row, one row and many agree (in float64, where a further program costs little)."""
    if case.row.flow is None or not case.is_double:
        return []
    flow = case.flow_with(w.trained)
    rows, context = case.x[:5].astype(np.float32), None if case.context is None else case.context[:5]
    rows = np.concatenate([rows] * 205)[:1024]
    many = None if context is None else np.concatenate([context] * 205)[:1024]
    scores = np.asarray(flow.log_prob(rows, many))
    one = np.asarray(flow.log_prob(rows[:1], None if many is None else many[:1]))
    none = flow.log_prob(rows[:0], None if many is None else many[:0])
    wrong = [] if none.shape == (0,) else [f"no rows give shape {none.shape}"]
    bound = 100 * case.tolerance.factor * case.eps * (1 + np.abs(one))
    return wrong + within(np.abs(scores[:1] - one), bound, "one row beside many")


PROPERTIES = {
    "round trip": round_trip,
    "log-det = autodiff": log_det_is_autodiff,
    "log-dets cancel": log_dets_cancel,
    "finite when hostile": finite_when_hostile,
    "right when hostile": right_when_hostile,
    "mapped = looped": mapped_is_looped,
    "gradient reaches leaves": gradient_reaches,
    "context reaches outputs": context_reaches,
    "dependence": dependence,
    "starts at identity": starts_at_identity,
    "monotone": is_monotone,
    "dtype kept": dtype_is_kept,
    "jit = eager": jit_is_eager,
    "integrates to one": density_integrates,
    "sample scores agree": sample_scores_agree,
    "small batches": small_batches,
}

# Properties that say something of one kind of weights only.
KINDS = {
    "starts at identity": ("fresh",),
    "gradient reaches leaves": ("random",),
    "context reaches outputs": ("random",),
    "dependence": ("random",),
    "jit = eager": ("random", "only"),
    "dtype kept": ("fresh",),
    "small batches": ("random",),
}

SECONDS: dict[str, float] = defaultdict(float)
RESULTS: dict[str, dict[str, str]] = defaultdict(dict)


def check(row: Row, name: str) -> list[str]:
    """All sentences that a property has to say against a row, over all kinds of weights."""
    case, start = case_of(row), time.perf_counter()
    kinds = [kind for kind in case.weights if kind in KINDS.get(name, tuple(case.weights))]
    if not kinds and name == "jit = eager":
        kinds = ["fresh"]
    wrong = [f"{kind} weights, {s}" for kind in kinds for s in PROPERTIES[name](case, case.weights[kind])]
    RESULTS[row.name][name] = "FAILED" if wrong else "ok"
    SECONDS[row.name] += time.perf_counter() - start
    return wrong


def table() -> list[str]:
    """Rows with the number of properties that hold and fail, and the rows that took longest."""
    if not RESULTS:
        return []
    lines = [f"{'row':<40}{'held':>6}{'failed':>8}{'seconds':>9}"]
    for name, outcome in RESULTS.items():
        failed = [prop for prop, said in outcome.items() if said != "ok"]
        held = len(outcome) - len(failed)
        lines.append(f"{name:<40}{held:>6}{len(failed):>8}{SECONDS[name]:>9.1f}  {', '.join(failed)}".rstrip())
    slowest = sorted(SECONDS, key=SECONDS.get, reverse=True)[:5]
    lines.append(f"{len(RESULTS)} rows, {sum(SECONDS.values()):.0f} s; slowest: " + ", ".join(slowest))
    return lines
