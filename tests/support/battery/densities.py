"""Properties of densities: they integrate to one, and the log-density of a sample equals that of `log_prob`."""

import functools
import itertools
import math
from typing import Any

import numpy as np
from tolerances import BALL_STANDARD_ERRORS, INTEGRAL
from zoo import CIRCLE, LINE, OPEN, POSITIVE, UNIT

from battery.bounds import exceeding, flat, log_det_bound, norms, sizes
from battery.case import AtWeights, Case
from battery.points import N
from pushforward.core.circles import circular_coordinates
from pushforward.core.distribution import AbstractDistribution

GRID = {1: 4096, 2: 256}
N_SAMPLES = {1: 8 * 1024, 2: 8 * 1024, 3: 64 * 1024, 5: 64 * 1024}


def log_base(side: str, z: np.ndarray) -> np.ndarray:
    """A normalised density on a side of a scalar map."""
    if side == LINE:
        return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    return {POSITIVE: -z, UNIT: 0 * z, OPEN: 0 * z - np.log(2), CIRCLE: 0 * z - np.log(2 * np.pi)}[side]


def scalar_integral(case: Case, w: AtWeights) -> list[str]:
    """Scalar maps: the pushforward of a density on the z side integrates to one over the x side."""
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
        keep = np.isfinite(z)  # float32 rounds the outermost points of (0, 1) to its ends
        log_density = log_base(case.row.z_side, z[keep]) + inverse.log_det[keep] + log_width[part][keep]
        total += np.exp(log_density).sum() * 2 * reach / u.size
    return [] if abs(total - 1) <= INTEGRAL else [f"integrates to {total:.5f}"]


def density_integrates(case: Case, w: AtWeights) -> list[str]:
    """Flows: a grid in one and two dimensions, the volume of a ball above. Not for images, in whose dimensions a ball
    contains too few samples: round trips and log-determinants test them."""
    if case.row.flow is None:
        return scalar_integral(case, w)
    if len(case.shape) == 3 and case.size not in N_SAMPLES:  # a vector of another size fails at the look-up below
        return []
    flow = case.flow_with(w.trained)
    context = None if case.context is None else case.context[0]
    x, log_probs = (
        np.asarray(v, np.float64) for v in flow.sample_and_log_prob(N_SAMPLES[case.size], key=7, context=context)
    )
    if case.size > 2:
        return ball_volume(flow, context, x, log_probs)
    # dense in the middle and wide far out, so that heavy tails do not make the grid coarse
    low, high = x.min(0), x.max(0)
    low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)
    left, centre, right = np.quantile(x, [0.1, 0.5, 0.9], axis=0)
    scale = (right - left) / 2
    ends = np.arcsinh((np.stack([low, high]) - centre) / scale)
    steps = (ends[1] - ends[0]) / GRID[case.size]
    t = ends[0] + (np.arange(GRID[case.size])[:, None] + 0.5) * steps
    axes, weights = centre + scale * np.sinh(t), scale * np.cosh(t) * steps
    angles = circular_coordinates(flow.bijection)  # over one turn
    turn = (np.arange(GRID[case.size])[:, None] + 0.5) * 2 * np.pi / GRID[case.size] - np.pi
    axes, weights = np.where(angles, turn, axes), np.where(angles, turn[1] - turn[0], weights)
    grid = np.stack(np.meshgrid(*axes.T, indexing="ij"), -1).reshape(-1, case.size)
    density = np.exp(np.asarray(flow.log_prob(grid, context), np.float64)).reshape((GRID[case.size],) * case.size)
    total = float(functools.reduce(lambda rest, weight: np.tensordot(weight, rest, 1), weights.T, density))
    return [] if abs(total - 1) <= INTEGRAL else [f"integrates to {total:.5f}"]


def ball_volume(flow: AbstractDistribution, context: Any, x: np.ndarray, log_probs: np.ndarray) -> list[str]:
    """The volume of the part of a ball where the density exceeds a threshold, estimated in two ways.

    Over samples of the flow it is the average of 1[x in ball, p(x) > t] / p(x), over uniform points of the ball the
    share with p > t. The threshold is set with separate points, such that thousands of samples are expected above it:
    both averages are then of bounded numbers. False-alarm rate 6e-7 (five standard errors). The standard error must be
    below 4 %, so that a density wrong by a fifth is detected.
    """
    random, dim = np.random.default_rng(2), x.shape[1]
    pilot, ranks = x[:1024], np.argsort(log_probs[:1024])
    direction = random.normal(size=(N_SAMPLES[1], dim))
    length = random.uniform(size=(len(direction), 1)) ** (1 / dim)
    unit = length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    angles = circular_coordinates(flow.bijection)
    x, log_probs = x[1024:], log_probs[1024:]
    # the largest ball in which the density does not vary too much, around the densest point or less dense ones
    centres = (-1, 768, 512, 256)
    for rank, share in (*itertools.product(centres, (0.1, 0.03, 0.01, 0.003)), *itertools.product(centres, (0.2,))):
        centre = pilot[ranks[rank]]
        radius = np.quantile(np.linalg.norm(pilot - centre, axis=1), share)
        volume = np.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim
        points = centre + radius * unit
        in_ball = np.array(flow.log_prob(points, context), np.float64)
        in_ball[(np.abs(points) > np.pi)[:, angles].any(1)] = -np.inf  # the density is that of one turn
        highest = np.sort(in_ball[:1024])[::-1]
        expected = np.exp(highest) * volume * np.arange(1, 1025) / 1024 * len(x)
        enough = np.flatnonzero(expected >= 2000)
        if enough.size and enough[-1] >= 50:
            break
    else:
        return ["the density varies too much for this test: use a smaller spread of weights"]
    threshold = highest[enough[-1]]
    shares = volume * (in_ball[1024:] > threshold)
    counted = (np.linalg.norm(x - centre, axis=1) < radius) & (log_probs > threshold)
    weights = np.where(counted, np.exp(-np.where(counted, log_probs, 0.0)), 0.0)
    means, errors = zip(*((v.mean(), v.std() / np.sqrt(v.size)) for v in (shares, weights)), strict=True)
    deviation = float(np.hypot(*errors))
    if abs(means[0] - means[1]) <= BALL_STANDARD_ERRORS * deviation and deviation < 0.04 * means[0]:
        return []
    return [f"volume {means[1]:.4g} by samples, {means[0]:.4g} by uniform points, standard error {deviation:.2g}"]


def sample_log_probs_agree(case: Case, w: AtWeights) -> list[str]:
    """Flows: the log-density returned with a sample equals that of log_prob, which is deterministic to the bit."""
    if case.row.flow is None:
        return []
    flow = case.flow_with(w.trained)
    context = None if case.context is None else case.context[0]
    x, reported = flow.sample_and_log_prob(1024, key=5, context=context)
    log_probs = np.asarray(flow.log_prob(x, context), np.float64)
    wrong = [] if np.array_equal(log_probs, flow.log_prob(x, context)) else ["log_prob twice gives two results"]
    points = np.asarray(x[:N], np.float64)
    contexts = None if case.context is None else np.repeat(case.context[:1], N, 0)
    side = case.figures(w.trained, points, points, contexts)[1]
    slope = np.abs(flat(side.out)).sum(1) * norms(side.jacobian) * (1 + sizes(points)) + np.abs(log_probs[:N])
    bound = log_det_bound(case, points, side) + case.tolerance.factor * case.eps * slope
    return wrong + exceeding(np.abs(log_probs - np.asarray(reported, np.float64))[:N], bound, "reported log_prob")
