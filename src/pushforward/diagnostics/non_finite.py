"""Where a flow that gives NaN or infinite numbers breaks first: the parameter, and the layer in each direction."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow, Given
from pushforward.diagnostics.batches import base_draws, draw
from pushforward.diagnostics.inputs import given_rows
from pushforward.diagnostics.layers import Passed, passes
from pushforward.numerics.arrays import is_array, is_inexact

_N_ROWS = 256


@dataclass(frozen=True)
class NonFinite:
    """What breaks first. Falsy where nothing was found.

    Attributes:
        parameter: the first parameter that is not finite, by its path in the tree; "" where all are.
        inverse: the first layer from data to base whose output is not finite where its input is; "" where none is.
        forward: the same from base to data.
    """

    parameter: str = ""
    inverse: str = ""
    forward: str = ""

    def __bool__(self) -> bool:
        return bool(self.parameter or self.inverse or self.forward)

    def __str__(self) -> str:
        parts = []
        if self.parameter:
            parts.append(f"the parameter {self.parameter}")
        if self.inverse and self.inverse == self.forward:
            parts.append(f"in both directions {self.inverse}")
        else:
            parts += [f"{name} {found}" for name, found in _directions(self) if found]
        return "; ".join(parts) if parts else "nothing"


def _directions(found: NonFinite) -> list[tuple[str, str]]:
    return [("from data to base", found.inverse), ("from base to data", found.forward)]


def locate_non_finite(
    flow: AbstractDistribution, x: ArrayLike | None = None, context: ArrayLike | None = None, *, key: int = 0
) -> NonFinite:
    """The first parameter that is NaN (or infinite and trained), and the first layer in each direction that breaks.

    A layer breaks a row where what comes out of it, or its log-determinant, is not finite and what went in was.

    Args:
        flow: a flow; of another distribution only the parameters are looked at.
        x: rows (n, *shape) from which to go to the base, at most 256 of them; None for the flow's own samples.
        context: one context, or one for each row.
        key: an int, for the draws.

    Returns:
        A `NonFinite`: `.parameter`, `.inverse`, `.forward`, and a sentence by `str`.

    Cost: a pass through each layer in both directions, each compiled by itself.

    Raises:
        ShapeError: if x or the context do not fit.

    Example:
        >>> import equinox as eqx, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.diagnostics import locate_non_finite
        >>> flow = pf.nice(dim=2, n_layers=2, width=8, key=0)
        >>> flow = eqx.tree_at(lambda f: f.bijection.bijections[1].layers.network.out_bias, flow,
        ...                    replace_fn=lambda bias: bias.at[1].set(jnp.nan))
        >>> print(locate_non_finite(flow).parameter)
        bijection.bijections[1].layers.network.out_bias (layer 2 of 2)
    """
    if isinstance(flow, Given):
        flow, context = flow.distribution, flow.context
    rows, contexts, _ = given_rows(flow, x, context, jax.random.key(key), finite=False)
    parameter = _parameter(flow)
    if not isinstance(flow, Flow):
        return NonFinite(parameter)
    if rows is None:
        rows = draw(flow, _N_ROWS, contexts, jax.random.key(key))[0]
        rows = np.where(np.isfinite(rows), rows, 0.0)  # so that the way back starts somewhere
    given = None if contexts is None else np.resize(contexts, (len(rows), *contexts.shape[1:]))[:_N_ROWS]
    rows = rows[:_N_ROWS]
    latents = base_draws(flow, _N_ROWS, contexts, jax.random.key(key))[0]
    return NonFinite(
        parameter,
        _first(passes(flow, rows, given, inverse=True)),
        _first(passes(flow, latents, contexts, inverse=False)) if np.isfinite(latents).any() else "base",
    )


def _parameter(flow: AbstractDistribution) -> str:
    """The path of the first bad leaf; an infinity that is not trained may be meant, such as the end of a range."""
    flags = jax.tree.leaves(trainable(flow))
    leaves = jax.tree_util.tree_leaves_with_path(flow)
    for (path, leaf), is_trained in zip(leaves, flags, strict=True):
        if is_array(leaf) and is_inexact(leaf):
            values = np.asarray(leaf)
            bad = ~np.isfinite(values) if is_trained else np.isnan(values)
            if bad.any():
                return jax.tree_util.keystr(path).lstrip(".") + _turn(flow, path, bad)
    return ""


def _turn(flow: Any, path: tuple[Any, ...], bad: np.ndarray) -> str:
    """Which layer of a `Repeat` holds it: the stack's leading axis."""
    node = flow
    for step in path:
        n_layers = getattr(node, "n_layers", None)
        if n_layers is not None and isinstance(step, jax.tree_util.GetAttrKey) and step.name == "layers":
            first = int(np.argwhere(bad)[0][0])
            return f" (layer {first + 1} of {n_layers})"
        node = getattr(node, step.name) if isinstance(step, jax.tree_util.GetAttrKey) else node[step.idx]
    return ""


def _first(found: Any) -> str:
    passed: Passed
    for passed in found:
        went_in = np.isfinite(passed.given).reshape(len(passed.given), -1).all(1)
        came_out = np.isfinite(passed.images).reshape(len(passed.images), -1).all(1)
        if (broken := went_in & ~came_out).any():
            return f"{passed.layer.path}, at {int(broken.sum())} of {len(broken)} rows"
        if (broken := went_in & ~np.isfinite(passed.log_dets)).any():
            return f"the log-determinant of {passed.layer.path}, at {int(broken.sum())} of {len(broken)} rows"
    return ""
