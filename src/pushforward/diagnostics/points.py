"""Tests at single points: round trips, log-determinants against automatic differentiation, conditioning.

A round trip may err by what rounding does at that very point. With J = dT/dz, absolute values taken element by element,
it is at most about eps (|z| + |J^-1| (|x| + |J| |z|)) for z -> x -> z, whatever the units of the coordinates, unless
layers undo each other; where an error is larger, the layers are looked at one by one (`rounded_by_layers`).
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.fields import cast
from pushforward.core.flow import Flow
from pushforward.diagnostics.batches import base_draws, base_scores, repeated
from pushforward.diagnostics.certificate import Row
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten

# Rounding errs by an eps or so in each of some dozen operations a layer, and errors of different layers partly cancel:
# healthy flows of ten layers stay below 10, a wrong formula errs by far more than 50.
FACTOR = 50.0
CONDITION = "condition number"
_MAX_POINTS = 64
_MAX_DIM = 1024
_DRAWS = 1024
_SINGULAR = 1e300  # stands for an infinite condition number; a certificate holds finite numbers
_TOO_MANY = f"Jacobians are taken up to {_MAX_DIM} dimensions."
_STABLE = "Compute in float64, or fit again with fewer layers, a smaller learning rate or splines in place of scales"
_NO_POINT = "At no point has the base density and leaves the conditioning digits to compare."


@dataclass(frozen=True)
class Side:
    """Points (n, D) on one side, as they are mapped to the other: with log-determinants (n,), Jacobians (n, D, D)."""

    points: np.ndarray
    images: np.ndarray
    log_dets: np.ndarray
    jacobians: np.ndarray | None


@compiled(4)
def _map(
    static: Any, inverse: bool, batch: int, jacobian: bool, arrays: list[Any], points: Array, contexts: Any
) -> Any:
    flow = unflatten(arrays, static)
    verb = flow.bijection.inverse_and_log_det if inverse else flow.bijection.forward_and_log_det

    def one(inputs: tuple[Array, Any]) -> tuple[Array, Array, Any]:
        point, context = inputs
        context = flow.embed_context(context) if flow.bijection.context_shape is not None else None

        def flat(vector: Array) -> tuple[Array, tuple[Array, Array]]:
            value, log_det = verb(vector.reshape(flow.shape), context)
            return value.reshape(-1), (value.reshape(-1), log_det)

        if not jacobian:
            return (*flat(point)[1], None)
        # Reverse mode: layers with a backward pass written by hand forbid the forward one.
        matrix, (value, log_det) = jax.jacrev(flat, has_aux=True)(point)
        return value, log_det, matrix

    return jax.lax.map(one, (points, contexts), batch_size=batch)


class Probe:
    """A flow at n contexts, its maps compiled once for n points at a time."""

    def __init__(self, flow: Flow, contexts: np.ndarray | None) -> None:
        self.flow = flow
        self.arrays, self.static = flatten(flow)
        self.dtype = float_type(self.arrays)
        self.eps = float(jnp.finfo(self.dtype).eps)
        self.dim = math.prod(flow.shape)
        # Memory stays below about 2^21 numbers for all Jacobians and 2^17 for those taken at once.
        self.n = min(_MAX_POINTS, max(4, _power_of_two((1 << 21) // self.dim**2)))
        self.batch = min(self.n, _power_of_two((1 << 17) // self.dim**2))
        self.contexts = contexts

    def latent(self, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of the base (n, D), others three deviations further out, and whether the base has density there."""
        count = max(self.n, _DRAWS)  # as many as other tests draw: their programs serve here
        drawn = base_draws(self.flow, count, self.contexts, key)[0].reshape(count, self.dim)
        far = drawn + 3.0 * drawn.std(0) * np.where(drawn >= drawn.mean(0), 1.0, -1.0).astype(drawn.dtype)
        scores = base_scores(self.flow, far.reshape(-1, *self.flow.shape), self.contexts)
        return _wide(drawn[: self.n]), _wide(far[: self.n]), np.isfinite(scores[: self.n])

    def map(self, points: np.ndarray, inverse: bool, contexts: np.ndarray | None = None) -> Side:
        """Points (n, D) through the flow, in one direction."""
        points = np.asarray(points, self.dtype)
        out = _map(
            self.static, inverse, self.batch, self.dim <= _MAX_DIM, self.arrays, points, self.contexts_of(contexts)
        )  # fmt: skip
        images, log_dets, jacobians = out
        return Side(_wide(points), _wide(images), _wide(log_dets), None if jacobians is None else _wide(jacobians))

    def contexts_of(self, contexts: np.ndarray | None) -> np.ndarray | None:
        """One context for each of the n points: these, or in turn those of the probe."""
        contexts = repeated(self.contexts if contexts is None else contexts, self.n)
        return None if contexts is None else np.asarray(contexts, self.dtype)


def in_double(flow: Flow, sides: list[Side], contexts: list[np.ndarray | None], *, inverse: bool) -> list[Side]:
    """The sides with their Jacobians in float64, where a slope such as s (1 - s) of a sigmoid still has digits."""
    with jax.enable_x64(True):
        wide: Any = cast(flow, np.float64)
        found = []
        for side, given in zip(sides, contexts, strict=False):
            exact = Probe(wide, given).map(side.points, inverse=inverse)
            found.append(dataclasses.replace(side, jacobians=exact.jacobians))
    return found


def _wide(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)


def _power_of_two(value: int) -> int:
    return 1 << max(value, 1).bit_length() - 1


def round_trip_row(
    name: str, there: Side, back: Side, unit: np.ndarray, eps: float, counted: np.ndarray,
    by_layers: Callable[[], np.ndarray],
) -> Row:  # fmt: skip
    """There and back again: the worst coordinate of the worst point, measured against what rounding can do.

    Args:
        name: of the row.
        there, back: the two passes; `back.points` are `there.images`.
        unit: size of a deviation on the starting side (D,), the floor of what an error is compared with.
        eps: of the type of numbers.
        counted: which points count (n,).
        by_layers: what rounding can do at each point (n, D), in units of eps, added up over the layers.
    """
    start, end, error = (part[counted] for part in (there.points, there.images, np.abs(back.images - there.points)))
    if len(error) == 0:
        return Row(name, None, None, None, _NO_POINT)
    if not (good := np.isfinite(error).all(1)).all():
        what = f"{int((~good).sum())} of {len(good)} points do not come back finite"
        return Row(
            name, None, None, False, f"{what}: a layer overflows or is left through the edge of its domain.",
            "forward or inverse overflows", f"{_STABLE}.",
        )  # fmt: skip
    known = np.ones(len(error), bool)
    if there.jacobians is not None:  # where the Jacobian is not finite there is no bound; the log-det's row says so
        known = np.isfinite(there.jacobians[counted]).all((1, 2))
        start, end, error, matrices = start[known], end[known], error[known], there.jacobians[counted][known]
        if len(error) == 0:
            return Row(name, None, None, None, _NO_POINT)
        passed = np.abs(end) + times(np.abs(matrices), np.abs(start))
        bound = FACTOR * eps * (unit + np.abs(start) + times(np.abs(inverses(matrices)), passed))
    else:
        # The conditioning is not known then; half of the digits is what may be lost before it is called a fault.
        bound = math.sqrt(eps) * (unit + np.abs(start))
    if there.jacobians is not None and (error > bound).any():
        finer = by_layers()[counted][known]
        bound = np.maximum(bound, np.where(np.isfinite(finer), FACTOR * eps * finer, 0.0))
    worst = np.unravel_index(np.argmax(error / bound), error.shape)
    value, allowed = float(error[worst]), float(bound[worst])
    if value <= allowed:
        return Row(name, value, allowed, True, f"Worst of {len(error)} points against rounding.")
    return Row(
        name, value, allowed, False, f"Worst of {len(error)} points against rounding.",
        "forward and inverse do not undo each other",
        "Test the layers one by one; a numerical inverse may need a finer tolerance.",
    )  # fmt: skip


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Products (n, D) of matrices (n, D, D) and vectors (n, D)."""
    return np.einsum("nij,nj->ni", matrices, vectors)


def inverses(matrices: np.ndarray) -> np.ndarray:
    """Inverse matrices; of a singular one infinities, for there rounding can do anything: conditioning sees it."""
    out = np.full(matrices.shape, np.finfo(np.float64).max ** 0.5)
    for index, matrix in enumerate(matrices):
        if np.isfinite(matrix).all() and np.linalg.slogdet(matrix)[0] != 0:
            out[index] = np.linalg.inv(matrix)
    return out


def log_det_row(name: str, sides: list[Side], eps: float, counted: np.ndarray, *, by_images: bool = False) -> Row:
    """The log-determinant of one direction against the Jacobian of the same direction at the same points.

    With `by_images` slopes may err by the rounding of the images that they are made of, as s (1 - s) of a sigmoid.
    """
    log_dets = np.concatenate([side.log_dets for side in sides])
    jacobians = _jacobians(sides)
    if jacobians is None:
        return Row(name, None, None, None, _TOO_MANY)
    finite, good = np.isfinite(jacobians).all((1, 2)), np.isfinite(log_dets) & counted
    if n_bad := int((good & ~finite).sum()):
        what = f"The Jacobian is NaN or infinite at {n_bad} of {len(good)} points where the map is finite"
        return Row(
            name, None, None, False, f"{what}: gradients will be too.", "gradients are not finite",
            "Look for a square root or a quotient whose unused branch is taken at zero.",
        )  # fmt: skip
    if not good.any():
        return Row(
            name, None, None, None, "The log-determinant and the Jacobian are finite at no point to be compared."
        )
    log_dets, jacobians = log_dets[good], jacobians[good]
    expected = np.linalg.slogdet(jacobians)[1]
    if n_bad := int((~np.isfinite(expected)).sum()):
        what = f"The Jacobian is singular at {n_bad} of {len(expected)} points"
        return Row(
            name, None, None, False, f"{what}.", "the map is no bijection where its Jacobian is singular",
            "Look for a layer whose slope can vanish, and give it a floor.",
        )  # fmt: skip
    # Every entry of J is known to eps, so log|det J| to eps times |J^-1| |J| summed over its diagonal.
    spread = np.einsum("nij,nji->n", np.abs(inverses(jacobians)), np.abs(jacobians))
    if by_images:
        points, images = (
            np.concatenate([getattr(side, part) for side in sides])[good] for part in ("points", "images")
        )
        spread += (times(np.abs(inverses(jacobians)), np.abs(images)) / (np.abs(points) + points.std(0))).sum(1)
    bound = FACTOR * eps * (1.0 + spread + np.abs(expected))
    error = np.abs(log_dets - expected)
    worst = int(np.argmax(error / bound))
    value, allowed = float(error[worst]), float(bound[worst])
    if value <= allowed:
        return Row(name, value, allowed, True, f"Worst of {len(error)} points against autodiff.")
    return Row(
        name, value, allowed, False, f"Worst of {len(error)} points against autodiff.",
        "the log-determinant is not that of the map",
        "A sign, or a missing term: compare each layer with its own Jacobian.",
    )  # fmt: skip


def conditions(forward: Side, x_unit: np.ndarray, z_unit: np.ndarray) -> np.ndarray:
    """Largest over smallest singular value of J, in deviations on both sides, so that units do not count: (n,).

    NaN where the Jacobian is not finite, or not taken.
    """
    found = np.full(len(forward.points), np.nan)
    if forward.jacobians is not None:
        good = np.isfinite(forward.jacobians).all((1, 2))
        values = np.linalg.svd(forward.jacobians[good] * z_unit / x_unit[:, None], compute_uv=False)
        largest, smallest = values[:, 0], values[:, -1]
        regular = smallest > largest / _SINGULAR
        found[good] = np.where(regular, largest / np.where(regular, smallest, 1.0), _SINGULAR)
    return found


def condition_limit(eps: float) -> float:
    """Beyond this condition number, the rounding that a round trip is allowed uses up every digit."""
    return 1.0 / (FACTOR * eps)


def conditioning_row(found: np.ndarray, eps: float, dim: int) -> Row:
    """The worst of the condition numbers of all points."""
    name, bound, found = CONDITION, condition_limit(eps), found[~np.isnan(found)]
    if dim > _MAX_DIM:
        return Row(name, None, None, None, _TOO_MANY)
    if len(found) == 0:
        return Row(name, None, None, None, "The Jacobian is finite at no point.")
    largest = float(found.max())
    words = f"Largest of {len(found)} points, median {np.median(found):.3g}."
    if largest <= bound:
        return Row(name, largest, bound, True, words)
    fault = "the inverse explodes" if largest < _SINGULAR else "the Jacobian is singular at some points"
    return Row(
        name, largest, bound, False, f"{words} Beyond the bound no digit may be left.", fault,
        f"{_STABLE}, or drop columns that others determine.",
    )  # fmt: skip


def _jacobians(sides: list[Side]) -> np.ndarray | None:
    found = [side.jacobians for side in sides if side.jacobians is not None]
    return np.concatenate(found) if found else None
