"""The table recipe x kind of derivative: both directions of every recipe, in both precisions.

Directions are log p(x; context) and the sampler, x and its log-determinant as functions of z and context, both also as
functions of all trained weights. In float64 every kind is compared with finite differences, in float32 with float64.
"""

import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from derivative_kinds import KINDS, MAPPED, Derivatives, errors
from jax.flatten_util import ravel_pytree

import pushforward as pf
from pushforward.core.fields import cast
from pushforward.recipes import IMAGE_RECIPES, RECIPES

NAMES = (*RECIPES, *IMAGE_RECIPES)
DIRECTIONS = ("log p", "sampler")
DTYPES = ("float64", "float32")
# Differences are good for nine to eleven digits. In float32 a second derivative sums hundreds of rounded terms.
TOLERANCES = {"float64": 1e-6, "float32": 1e-2}
N_POINTS, CONTEXT_DIM = 2, 2
_TRIES, _CONVERGED = 5, 1e-3  # other points if differences along a direction do not converge
_DIM, _IMAGE = 4, (4, 4, 2)  # masked networks cache from four ranks on
_SMALL = {
    "n_layers": 2, "width": 8, "depth": 1, "n_bins": 3, "n_units": 2, "n_components": 2, "n_embedded": 2, "degree": 2,
    "cycle": 2, "n_scales": 1, "context_dim": CONTEXT_DIM,
}  # fmt: skip


def build(name: str) -> pf.Flow:
    """The recipe at small sizes, with random weights, in float32."""
    recipe = {**RECIPES, **IMAGE_RECIPES}[name]
    known = inspect.signature(recipe).parameters
    options = {key: value for key, value in _SMALL.items() if key in known}
    flow = recipe(_IMAGE if name in IMAGE_RECIPES else _DIM, key=0, **options)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    random, deviation = np.random.default_rng(0), 0.1 if "resnet" in name or "residual" in name else 0.2
    moved = jax.tree.map(lambda a: a + deviation * random.normal(size=a.shape), trained)
    # not finalised: that puts a contractive weight on its bound, where the map has a kink in the weight
    return cast(eqx.combine(moved, rest), jnp.float32)


def row(name: str, direction: str) -> dict[str, dict[str, float]]:
    """The error of each kind in each precision."""
    flow = build(name)

    def inputs(seed: int) -> tuple[Any, Any, Any]:
        random, shape = np.random.default_rng(seed), flow.context_shape
        points = 0.7 * random.normal(size=(N_POINTS, *flow.shape)).astype(np.float32)
        contexts = None if shape is None else random.normal(size=(N_POINTS, *shape)).astype(np.float32)
        return eqx.filter(flow, pf.trainable(flow)), points, contexts

    def program(dtype: Any, kinds: tuple[str, ...]) -> Derivatives:
        rest = eqx.partition(cast(flow, dtype), pf.trainable(flow))[1]
        parts = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), inputs(0))

        def one(trained: Any, point: Any, context: Any) -> tuple[Any, ...]:
            flow = eqx.combine(trained, rest)
            if direction == "log p":
                return (flow.log_prob(point, context),)
            return flow.bijection.forward_and_log_det(point, context)

        return Derivatives(one, parts, kinds)

    for seed in range(_TRIES):
        at = np.asarray(ravel_pytree(inputs(seed))[0], np.float32)
        along, other = np.random.default_rng(seed).normal(size=(2, len(at))).astype(np.float32)
        with jax.enable_x64(True):
            double = program(jnp.float64, KINDS) if seed == 0 else double
            got, right, uncertainty = double.with_differences(*(np.asarray(v, np.float64) for v in (at, along, other)))
        hessian = "forward over reverse"
        if np.abs(uncertainty[hessian]).max() < _CONVERGED * np.abs(right[hessian]).max():
            break  # else a kink of a network lies between the points of the differences
    with jax.enable_x64(False):
        rounded = jax.device_get(program(jnp.float32, MAPPED).run(at, along, other))
    return {"float64": errors(got, right), "float32": errors(rounded, got)}
