"""Points stored with a flow and its scores there: whether the flow that is read back computes what the saved one did.

The hash of a file says that its numbers are the same; the scores say that the formulas are, in another version of this
library or of JAX.
"""

import warnings
from typing import Any

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import DataError, ModelFileError, NumericError
from pushforward.persistence.container import Spec, checked_spec, damaged

N_POINTS = 4
# Machines differ in the order of sums and, for float32 on an accelerator, in the precision of products.
_RELATIVE = {"float64": 1e-8}
_RELATIVE_OTHER = 1e-2
_ULPS = 100.0
_PREFIX = "probe/"
_FAILURES = (DataError, NumericError)  # a sample that is infinite; a density or an inverse that fails


def probe(flow: AbstractDistribution) -> dict[str, np.ndarray]:
    """A few samples of a flow, their context if any, and their scores; nothing, with a warning, if that fails."""
    context = None
    if flow.context_shape is not None:
        context = np.random.default_rng(0).standard_normal((N_POINTS, *flow.context_shape))
    try:
        x = _widened(flow.sample(() if context is not None else N_POINTS, key=0, context=context))
        scores = _widened(flow.log_prob(x, context))
    except _FAILURES as error:
        warnings.warn(
            f"the flow's own samples cannot be scored ({error}) The file is written, without scores to compare when it "
            "is loaded.",
            stacklevel=4,
        )
        return {}
    parts = {"x": x, "context": context, "log_prob": scores}
    return {f"{_PREFIX}{name}": value for name, value in parts.items() if value is not None}


def _widened(values: Any) -> np.ndarray:
    """At least float32: what a narrower type holds, a wider one holds too, and the public methods take it."""
    values = np.asarray(values)
    return values.astype(np.promote_types(values.dtype, np.float32))


def describe(tensors: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    """What the header says of the points: the type and the shape of each tensor."""
    return {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}


def announced(described: Any) -> dict[str, Spec]:
    """The tensors that the header of a file promises for its points."""
    names = [{f"{_PREFIX}{name}" for name in names} for names in ((), ("x", "log_prob"), ("x", "context", "log_prob"))]
    if not isinstance(described, dict) or set(described) not in names:
        raise damaged("the header's probe does not describe points and their scores")
    specs = {}
    for name, entry in described.items():
        if not isinstance(entry, list) or len(entry) != 2:
            raise damaged(f"tensor {name!r} is not described by its type and shape")
        specs[name] = checked_spec(name, *entry)
        if specs[name].shape[:1] != (N_POINTS,):
            raise damaged(f"tensor {name!r} does not hold {N_POINTS} points")
    return specs


def compare(flow: AbstractDistribution, tensors: dict[str, np.ndarray], dtype: str) -> None:
    """Refuse a flow that scores the stored points otherwise than it did when it was saved.

    Allowed is a relative difference by the type of numbers, and the change that one rounding error in x makes.
    """
    if not tensors:
        return
    x, stored = tensors[f"{_PREFIX}x"], tensors[f"{_PREFIX}log_prob"]
    context = tensors.get(f"{_PREFIX}context")
    if x.shape[1:] != flow.shape or stored.shape != x.shape[:1]:
        raise damaged(f"the stored points have the shapes {x.shape} and {stored.shape}")
    if (None if context is None else context.shape[1:]) != flow.context_shape:
        raise damaged("the stored points have other contexts than the flow takes")
    near = x * (1 + np.finfo(x.dtype).eps)
    both = None if context is None else np.concatenate([context, context])
    try:
        scores = np.asarray(flow.log_prob(np.concatenate([x, near]), both), np.float64)
    except _FAILURES as error:
        raise damaged(f"the stored points cannot be scored ({error})") from error
    here, beside = scores[:N_POINTS], scores[N_POINTS:]
    with np.errstate(invalid="ignore"):  # -inf where a point lies outside the support, then on both sides
        allowed = _RELATIVE.get(dtype, _RELATIVE_OTHER) * (1 + np.abs(here)) + _ULPS * np.abs(here - beside)
        equal = (here == stored) | (np.abs(here - stored) <= allowed)
    if not equal.all():
        worst = int(np.argmin(equal))
        raise ModelFileError(
            f"scores a stored point at {here[worst]:.6g} nats, it was {stored[worst]:.6g} when the flow was saved: "
            "this version of pushforward or JAX computes another flow from the same numbers. Install the versions that "
            "wrote it, or pass verify=False to load it as it is."
        )
