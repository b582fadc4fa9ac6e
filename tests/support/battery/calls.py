"""Properties of how a row is called: mapped or looped, compiled or not, in either dtype, with few rows or many."""

import jax
import jax.numpy as jnp
import numpy as np
from tolerances import REORDERED
from zoo import CONTEXT_DIM

from battery.bounds import flat, log_det_bound, norms, sizes, within, wrapped
from battery.case import Case, Weighted


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


def products_in_full(case: Case, w: Weighted) -> list[str]:
    """Products of matrices keep their bits on accelerators: in both directions, and in all of their gradients."""
    return [f"a product that may lose bits: {line}" for line in case.loose_products]


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
