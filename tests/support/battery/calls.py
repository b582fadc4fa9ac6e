"""Properties of calls: mapped or looped, compiled or eager, in either dtype, in small or large batches."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tolerances import REORDERED
from zoo import CONTEXT_DIM

from battery.bounds import exceeding, flat, log_det_bound, modulo_circle, norms, sizes
from battery.case import AtWeights, Case
from pushforward.persistence.tree import classes_of, decode, encode, registry


def mapped_is_looped(case: Case, w: AtWeights) -> list[str]:
    """A batch gives the results of single samples: values, log-determinants, gradients of weights and points."""
    wrong = []
    for what, sides in (("ordinary", w.at), ("hostile", w.far)):
        for name, start, side in zip(("forward", "inverse"), (w.z, w.x), sides, strict=True):
            if what == "hostile" and case.row.largest > 1e4:
                continue  # sums of terms of 1e30 cancel: only finiteness can be tested
            bound = REORDERED * case.eps * (1 + sizes(side.loop_out) + norms(side.jacobian) * (1 + sizes(start)))
            wrong += exceeding(
                modulo_circle(case, np.abs(flat(side.out) - flat(side.loop_out)).max(1)), bound, f"{name} {what}"
            )
            error = np.abs(np.asarray(side.log_det, np.float64) - side.loop_log_det)
            wrong += exceeding(error, 10 * log_det_bound(case, start, side), f"{name} {what}: log_det")
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


def dtype_is_preserved(case: Case, w: AtWeights) -> list[str]:
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
        for method in (cast.forward_and_log_det, cast.inverse_and_log_det):
            out, log_det = jax.eval_shape(method, point, context)
            if (out.dtype, log_det.dtype) != (dtype, dtype):
                wrong.append(f"{method.__name__} of {dtype.__name__}: {out.dtype}, {log_det.dtype}")
    return wrong


def survives_a_model_file(case: Case, w: AtWeights) -> list[str]:
    """The plain data and arrays of a model file give the same module."""
    if not case.row.is_stored:
        return []
    config, tensors = encode(case.bijection)
    loaded = decode(config, registry(classes_of(case.bijection)), tensors)
    return [] if eqx.tree_equal(loaded, case.bijection) else ["the module read back differs"]


def products_in_full(case: Case, w: AtWeights) -> list[str]:
    """Products of matrices have full precision on accelerators, in both directions and in all gradients."""
    return [f"a product of reduced precision: {line}" for line in case.reduced_products]


def jit_is_eager(case: Case, w: AtWeights) -> list[str]:
    """One sample without jit: op by op, so in float64 only, and for layers only, of which flows consist."""
    if case.row.flow is not None or not case.is_double:
        return []
    bijection = case.with_weights(w.trained)
    context = None if case.context is None else jnp.asarray(case.context[0])
    wrong = []
    for name, start, side in zip(("forward", "inverse"), (w.z, w.x), w.at, strict=True):
        method = bijection.inverse_and_log_det if name == "inverse" else bijection.forward_and_log_det
        out, log_det = method(jnp.asarray(start[0], side.out.dtype), context)
        bound = REORDERED * case.eps * (1 + sizes(side.out)[:1] + norms(side.jacobian)[:1] * (1 + sizes(start)[:1]))
        error = modulo_circle(case, np.abs(flat(np.asarray(out)[None]) - flat(side.out[:1])).max(1))
        wrong += exceeding(error, bound, name)
        error = np.abs(np.asarray(log_det)[None] - side.log_det[:1])
        wrong += exceeding(error, 10 * log_det_bound(case, start, side)[:1], f"{name}: log_det")
    return wrong


def small_batches(case: Case, w: AtWeights) -> list[str]:
    """Flows: batches of zero, one and many samples agree (in float64, where another program costs little)."""
    if case.row.flow is None or not case.is_double:
        return []
    flow = case.flow_with(w.trained)
    x, context = case.x[:5].astype(np.float32), None if case.context is None else case.context[:5]
    x = np.concatenate([x] * 205)[:1024]
    contexts = None if context is None else np.concatenate([context] * 205)[:1024]
    log_probs = np.asarray(flow.log_prob(x, contexts))
    one = np.asarray(flow.log_prob(x[:1], None if contexts is None else contexts[:1]))
    empty = flow.log_prob(x[:0], None if contexts is None else contexts[:0])
    wrong = [] if empty.shape == (0,) else [f"an empty batch gives shape {empty.shape}"]
    bound = 100 * case.tolerance.factor * case.eps * (1 + np.abs(one))
    return wrong + exceeding(np.abs(log_probs[:1] - one), bound, "one sample against many")
