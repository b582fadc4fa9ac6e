"""Every kind of derivative of both directions, in weights, points and contexts, against finite differences.

Along one direction at a time: of the weights, of the points or of the contexts. The kinds are forward and reverse mode,
each of the two over each, derivatives that are mapped afterwards, and derivatives of a loop (`derivative_kinds`).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from derivative_kinds import CENTRAL, KINDS, LEFT, RIGHT, SINGLE, Derivatives
from jax.flatten_util import ravel_pytree
from zoo import POSITIVE, UNIT

import pushforward as pf
from battery.case import AtWeights, Case

N_POINTS = 4
# Of the largest entry: a difference has about nine digits where the gradient has fourteen; a lost term has none.
RELATIVE = 1e-6
BLOCKS = ("weights", "points", "context")


class Direction:
    """One direction of a bijection at a batch of points, with the program of its derivatives."""

    def __init__(self, bijection: Any, inverse: bool, context: Any) -> None:
        trained, rest = eqx.partition(bijection, pf.trainable(bijection))

        def one(trained: Any, point: Any, context: Any) -> Any:
            module = eqx.combine(trained, rest)
            return (module.inverse_and_log_det if inverse else module.forward_and_log_det)(point, context)

        self.parts = trained, jnp.zeros((N_POINTS, *bijection.shape)), context
        self.derivatives = Derivatives(one, self.parts)

    def wrong(
        self, trained: Any, points: np.ndarray, context: Any, which: str, offsets: np.ndarray, blocks: tuple[str, ...]
    ) -> list[str]:
        """Errors along one direction of the weights, the points or the contexts, in these blocks of H d."""
        parts, random = (trained, jnp.asarray(points), context), np.random.default_rng(0)

        def step(name: str, part: Any) -> Any:
            return jax.tree.map(lambda a: (which == name) * np.abs(random.normal(size=a.shape)), part)

        direction = _vector(step(name, part) for name, part in zip(BLOCKS, parts, strict=True))
        counts = _vector(
            jax.tree.map(lambda a, name=name: np.full(a.shape, float(name in blocks)), part)
            for name, part in zip(BLOCKS, parts, strict=True)
        )
        other = counts * np.abs(random.normal(size=counts.shape))
        got, right, uncertainty = self.derivatives.with_differences(_vector(parts), direction, other, offsets)
        wrong = []
        for kind in KINDS:
            scale, is_vector = self._scale(kind, got, right, other), right[kind].shape[-1:] == counts.shape
            counted = counts > 0 if is_vector and kind != "forward" else True
            error = np.where(counted, np.abs(got[kind] - right[kind]) / scale, 0)
            doubt = np.where(counted, uncertainty[kind] / scale, 0)
            at = np.unravel_index(np.argmax(np.nan_to_num(error - 3 * doubt, nan=np.inf)), error.shape)
            name = self._name(int(at[-1])) if at and kind != "forward" else "the result"
            if not error[at] <= RELATIVE + 3 * doubt[at]:
                wrong.append(f"{kind}, along {which}: {got[kind][at]:.8g} at {name}, right {right[kind][at]:.8g}")
            if doubt.max(initial=0) > 1e-4:
                wrong.append(f"{kind}, along {which}: differences do not converge")
        return wrong

    def _scale(self, kind: str, got: Any, right: Any, other: np.ndarray) -> Any:
        """1 + the largest entry: of J d, of the terms of a product, or of the same leaf of H d."""
        if kind in ("forward", "reverse", "forward over forward"):
            terms = {"forward": right["forward"], "reverse": got["weights"] * right["forward"]}
            return 1 + np.abs(terms.get(kind, other * right["forward over reverse"])).sum()
        rows = right[kind] if kind in SINGLE else right[kind][None]

        def filled(leaf: Any) -> np.ndarray:
            return np.full(leaf.shape, 1 + np.abs(leaf).max(initial=0))

        scales = [_vector(jax.tree.map(filled, self.derivatives.unravel(row))) for row in rows]
        return np.stack(scales) if kind in SINGLE else scales[0]

    def _name(self, index: int) -> str:
        """The name of an entry of the vector."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.parts):
            if index < leaf.size:
                return f"{BLOCKS[path[0].idx]}{jax.tree_util.keystr(path[1:])}[{index}]"
            index -= leaf.size
        return "?"


def _vector(parts: Any) -> np.ndarray:
    return np.asarray(ravel_pytree(tuple(parts))[0])


def derivatives(case: Case, w: AtWeights) -> list[str]:
    """At ordinary points with random weights; at ties with start weights, where the right-hand piece counts."""
    if not case.is_double:
        return []
    # not finalised, because that puts a contractive weight on its bound, where the map has a kink in the weight
    bijection, wrong = eqx.combine(w.trained, case.bijection), []
    trained = eqx.filter(bijection, pf.trainable(bijection))
    context = None if case.context is None else jnp.asarray(case.context[:N_POINTS])
    for name, side, points in (("forward", case.row.z_side, case.z), ("inverse", case.row.x_side, case.x)):
        direction = Direction(bijection, name == "inverse", context)
        for which, part in zip(BLOCKS, (trained, points, context), strict=True):
            if jax.tree.leaves(part):
                errors = direction.wrong(trained, points[:N_POINTS], context, which, CENTRAL, BLOCKS)
                wrong += [f"{name}: {line}" for line in errors]
        at_ties = ties(case) if side not in (POSITIVE, UNIT) else []
        # a network's kinks are no ties of the map: with start weights they change only the gradient of the weights
        blocks = BLOCKS if case.shape == () else ("points",)
        fresh = eqx.filter(case.bijection, pf.trainable(case.bijection))
        for values in at_ties:
            points = np.broadcast_to(values.reshape(-1, *[1] * len(case.shape)), (N_POINTS, *case.shape))
            errors = direction.wrong(fresh, points, context, "points", RIGHT, blocks)
            if errors and name == "forward" and case.row.tolerance == "integral":
                # no float maps to the edge of the box: the root may be one unit in the last place to the left
                errors = direction.wrong(fresh, points, context, "points", LEFT, blocks)
            wrong += [f"{name} at {values}: {line}" for line in errors]
    return wrong


def ties(case: Case) -> list[np.ndarray]:
    """Zero and the knots of a row, `N_POINTS` at a time, for layers that start as the identity: there every part has
    the same input."""
    if not (case.row.is_identity or case.shape == ()):
        return []
    distinct = {round(knot, 3): knot for knot in reversed(case.row.knots)}
    values = [0.0, *distinct.values(), *(-knot for knot in distinct.values())]
    return [np.resize(values[i : i + N_POINTS], N_POINTS) for i in range(0, len(values), N_POINTS)]
