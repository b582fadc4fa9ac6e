"""Tests at single points: round trips, log-determinants against automatic differentiation, conditioning.

The error of a round trip is bounded by rounding at that point. With J = dT/dz and absolute values element by element,
it is at most about eps (|z| + |J^-1| (|x| + |J| |z|)) for z -> x -> z, whatever the units of the coordinates, unless
layers undo each other. Where an error is larger, the bound is summed over the layers (`rounded_by_layers`).
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

from pushforward.core.float64 import in_float64
from pushforward.core.flow import Flow
from pushforward.diagnostics.batches import base_log_prob, base_sample, repeat_to
from pushforward.diagnostics.row import Row, bounded_row
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten

# Each of some dozen operations of a layer has a rounding error of about eps, and errors of different layers partly
# cancel: healthy flows of ten layers stay below 10, the error of a wrong formula is far above 50.
FACTOR = 50.0
CONDITION = "condition number"
_MAX_POINTS = 64
_MAX_DIM = 1024
_DRAWS = 1024
_SINGULAR = 1e300  # stands for an infinite condition number; a certificate holds finite numbers
_TOO_MANY = f"Jacobians are computed up to {_MAX_DIM} dimensions."
_STABLE = "Compute in float64, or fit again with fewer layers, a smaller learning rate or splines in place of scales"
_NO_POINT = "At no point does the base have density and the conditioning leave digits to compare."


@dataclass(frozen=True)
class MapEvaluation:
    """Inputs (n, D) and outputs (n, D) of a map, with log-determinants (n,) and Jacobians (n, D, D)."""

    inputs: np.ndarray
    outputs: np.ndarray
    log_dets: np.ndarray
    jacobians: np.ndarray | None


@compiled(4, shapes_of=lambda static, *_: static.event_shapes)
def _evaluate(
    static: Any, inverse: bool, batch: int, jacobian: bool, arrays: list[Any], points: Array, contexts: Any
) -> Any:
    flow = unflatten(arrays, static)
    method = flow.bijection.inverse_and_log_det if inverse else flow.bijection.forward_and_log_det

    def one(inputs: tuple[Array, Any]) -> tuple[Array, Array, Any]:
        point, context = inputs
        context = flow.embed_context(context) if flow.bijection.context_shape is not None else None

        def flat(vector: Array) -> tuple[Array, tuple[Array, Array]]:
            value, log_det = method(vector.reshape(flow.shape), context)
            return value.reshape(-1), (value.reshape(-1), log_det)

        if not jacobian:
            return (*flat(point)[1], None)
        # Reverse mode: for forward mode, layers with a hand-written backward pass transpose it.
        matrix, (value, log_det) = jax.jacrev(flat, has_aux=True)(point)
        return value, log_det, matrix

    return jax.lax.map(one, (points, contexts), batch_size=batch)


class PointEvaluator:
    """Evaluates a flow's maps at n points, with one compiled program for each direction."""

    def __init__(self, flow: Flow, contexts: np.ndarray | None) -> None:
        self.flow = flow
        self.arrays, self.static = flatten(flow)
        self.dtype = float_type(self.arrays)
        self.eps = float(jnp.finfo(self.dtype).eps)
        self.dim = math.prod(flow.shape)
        # Memory stays below about 2^21 numbers for all Jacobians and 2^17 for those computed at once.
        self.n = min(_MAX_POINTS, max(4, _power_of_two((1 << 21) // self.dim**2)))
        self.batch = min(self.n, _power_of_two((1 << 17) // self.dim**2))
        self.contexts = contexts

    def latents(self, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples z of the base (n, D), points three deviations further out, and whether the base has density there."""
        count = max(self.n, _DRAWS)  # as many as other tests draw, so that their compiled programs serve here
        z = base_sample(self.flow, count, self.contexts, key)[0].reshape(count, self.dim)
        far = z + 3.0 * z.std(0) * np.where(z >= z.mean(0), 1.0, -1.0).astype(z.dtype)
        log_probs = base_log_prob(self.flow, far.reshape(-1, *self.flow.shape), self.contexts)
        return _wide(z[: self.n]), _wide(far[: self.n]), np.isfinite(log_probs[: self.n])

    def evaluate(self, points: np.ndarray, inverse: bool, contexts: np.ndarray | None = None) -> MapEvaluation:
        """The map of one direction at points (n, D)."""
        points = np.asarray(points, self.dtype)
        outputs, log_dets, jacobians = _evaluate(
            self.static, inverse, self.batch, self.dim <= _MAX_DIM, self.arrays, points, self.contexts_of(contexts)
        )  # fmt: skip
        return MapEvaluation(
            _wide(points), _wide(outputs), _wide(log_dets), None if jacobians is None else _wide(jacobians)
        )

    def contexts_of(self, contexts: np.ndarray | None) -> np.ndarray | None:
        """One context for each of the n points: these, or by default those of the evaluator, repeated."""
        contexts = repeat_to(self.contexts if contexts is None else contexts, self.n)
        return None if contexts is None else np.asarray(contexts, self.dtype)


def jacobians_in_float64(
    flow: Flow, evaluations: list[MapEvaluation], contexts: list[np.ndarray | None], *, inverse: bool
) -> list[MapEvaluation]:
    """The evaluations with Jacobians in float64, where a slope such as s (1 - s) of a sigmoid still has digits."""
    with jax.enable_x64(True):
        wide = in_float64(flow)
        results = []
        for evaluation, point_contexts in zip(evaluations, contexts, strict=False):
            exact = PointEvaluator(wide, point_contexts).evaluate(evaluation.inputs, inverse=inverse)
            results.append(dataclasses.replace(evaluation, jacobians=exact.jacobians))
    return results


def _wide(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)


def _power_of_two(value: int) -> int:
    return 1 << max(value, 1).bit_length() - 1


def round_trip_row(
    name: str, there: MapEvaluation, back: MapEvaluation, unit: np.ndarray, eps: float, counted: np.ndarray,
    by_layers: Callable[[], np.ndarray],
) -> Row:  # fmt: skip
    """The error of a round trip against its rounding bound, at the worst coordinate of the worst point.

    Args:
        name: of the row.
        there, back: the two evaluations; `back.inputs` are `there.outputs`.
        unit: standard deviations on the starting side (D,); errors are compared with at least these.
        eps: machine epsilon of the flow's dtype.
        counted: which points count (n,).
        by_layers: computes the rounding bound of each point summed over the layers (n, D), in units of eps.
    """
    start, end, error = (part[counted] for part in (there.inputs, there.outputs, np.abs(back.outputs - there.inputs)))
    if len(error) == 0:
        return Row(name, None, None, None, _NO_POINT)
    if not (good := np.isfinite(error).all(1)).all():
        what = f"{int((~good).sum())} of {len(good)} points do not come back finite"
        return Row(
            name, None, None, False, f"{what}: a layer overflows, or a point leaves its domain.",
            "forward or inverse overflows", f"{_STABLE}.",
        )  # fmt: skip
    known = np.ones(len(error), bool)
    if there.jacobians is not None:  # where the Jacobian is not finite there is no bound; the log-det's row says so
        known = np.isfinite(there.jacobians[counted]).all((1, 2))
        start, end, error, matrices = start[known], end[known], error[known], there.jacobians[counted][known]
        if len(error) == 0:
            return Row(name, None, None, None, _NO_POINT)
        size = np.abs(end) + times(np.abs(matrices), np.abs(start))
        bound = FACTOR * eps * (unit + np.abs(start) + times(np.abs(inverses(matrices)), size))
    else:
        # Without Jacobians the conditioning is unknown; half of the digits may be lost.
        bound = math.sqrt(eps) * (unit + np.abs(start))
    if there.jacobians is not None and (error > bound).any():
        finer = by_layers()[counted][known]
        bound = np.maximum(bound, np.where(np.isfinite(finer), FACTOR * eps * finer, 0.0))
    worst = np.unravel_index(np.argmax(error / bound), error.shape)
    message = f"Worst of {len(error)} points against rounding."
    return bounded_row(
        name, float(error[worst]), float(bound[worst]), message, message,
        "forward and inverse do not undo each other",
        "Test the layers one by one; a numerical inverse may need a finer tolerance.",
    )  # fmt: skip


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Products (n, D) of matrices (n, D, D) and vectors (n, D)."""
    return np.einsum("nij,nj->ni", matrices, vectors)


def inverses(matrices: np.ndarray) -> np.ndarray:
    """Inverse matrices; huge entries for a singular one, because the conditioning row reports it."""
    out = np.full(matrices.shape, np.finfo(np.float64).max ** 0.5)
    for index, matrix in enumerate(matrices):
        if np.isfinite(matrix).all() and np.linalg.slogdet(matrix)[0] != 0:
            out[index] = np.linalg.inv(matrix)
    return out


def log_det_row(
    name: str, evaluations: list[MapEvaluation], eps: float, counted: np.ndarray, *, by_outputs: bool = False
) -> Row:
    """The log-determinant of one direction against the Jacobian of the same direction at the same points.

    With `by_outputs` the bound allows for slopes that are computed from rounded outputs, as s (1 - s) of a sigmoid.
    """
    log_dets = np.concatenate([evaluation.log_dets for evaluation in evaluations])
    jacobians = _jacobians(evaluations)
    if jacobians is None:
        return Row(name, None, None, None, _TOO_MANY)
    finite, good = np.isfinite(jacobians).all((1, 2)), np.isfinite(log_dets) & counted
    if n_bad := int((good & ~finite).sum()):
        what = f"The Jacobian is NaN or infinite at {n_bad} of {len(good)} points where the map is finite"
        return Row(
            name, None, None, False, f"{what}: gradients will be too.", "gradients are not finite",
            "Look for a square root or a quotient whose unused branch is evaluated at zero.",
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
            "Look for a layer whose slope can vanish, and give it a lower bound.",
        )  # fmt: skip
    # Every entry of J is known to eps, so log|det J| to eps times |J^-1| |J| summed over its diagonal.
    spread = np.einsum("nij,nji->n", np.abs(inverses(jacobians)), np.abs(jacobians))
    if by_outputs:
        inputs, outputs = (
            np.concatenate([getattr(evaluation, part) for evaluation in evaluations])[good]
            for part in ("inputs", "outputs")
        )
        spread += (times(np.abs(inverses(jacobians)), np.abs(outputs)) / (np.abs(inputs) + inputs.std(0))).sum(1)
    bound = FACTOR * eps * (1.0 + spread + np.abs(expected))
    error = np.abs(log_dets - expected)
    worst = int(np.argmax(error / bound))
    message = f"Worst of {len(error)} points against autodiff."
    return bounded_row(
        name, float(error[worst]), float(bound[worst]), message, message,
        "the log-determinant is not that of the map",
        "A sign, or a missing term: compare each layer with its own Jacobian.",
    )  # fmt: skip


def conditions(forward: MapEvaluation, x_unit: np.ndarray, z_unit: np.ndarray) -> np.ndarray:
    """Condition numbers (n,) of J in units of standard deviations: the largest over the smallest singular value.

    NaN where the Jacobian is not finite, or not computed.
    """
    numbers = np.full(len(forward.inputs), np.nan)
    if forward.jacobians is not None:
        good = np.isfinite(forward.jacobians).all((1, 2))
        values = np.linalg.svd(forward.jacobians[good] * z_unit / x_unit[:, None], compute_uv=False)
        largest, smallest = values[:, 0], values[:, -1]
        regular = smallest > largest / _SINGULAR
        numbers[good] = np.where(regular, largest / np.where(regular, smallest, 1.0), _SINGULAR)
    return numbers


def condition_limit(eps: float) -> float:
    """The condition number beyond which the rounding bound of a round trip leaves no digit."""
    return 1.0 / (FACTOR * eps)


def conditioning_row(numbers: np.ndarray, eps: float, dim: int) -> Row:
    """The largest of the condition numbers of all points."""
    name, bound, numbers = CONDITION, condition_limit(eps), numbers[~np.isnan(numbers)]
    if dim > _MAX_DIM:
        return Row(name, None, None, None, _TOO_MANY)
    if len(numbers) == 0:
        return Row(name, None, None, None, "The Jacobian is finite at no point.")
    largest = float(numbers.max())
    message = f"Largest of {len(numbers)} points, median {np.median(numbers):.3g}."
    fault = "the inverse explodes" if largest < _SINGULAR else "the Jacobian is singular at some points"
    return bounded_row(
        name, largest, bound, message, f"{message} Beyond the bound no digit may be left.", fault,
        f"{_STABLE}, or drop columns that others determine.",
    )  # fmt: skip


def _jacobians(evaluations: list[MapEvaluation]) -> np.ndarray | None:
    jacobians = [evaluation.jacobians for evaluation in evaluations if evaluation.jacobians is not None]
    return np.concatenate(jacobians) if jacobians else None
