"""Samples of a flow and their scores, stored in its file to verify that the loaded flow computes the same density.

The hash of a file verifies its numbers; the scores verify the formulas, which another version of this library or of JAX
may change. The header key and the prefix of the tensors are "probe".
"""

import warnings
from typing import Any

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import DataError, ModelFileError, NumericError
from pushforward.persistence.container import Spec, damaged, parse_spec

N_POINTS = 4
# Relative tolerance: machines differ in the order of sums, and accelerators in the precision of float32 products.
_RELATIVE = {"float64": 1e-8}
_RELATIVE_OTHER = 1e-2
_ULPS = 100.0
_PREFIX = "probe/"
_FAILURES = (DataError, NumericError)  # an infinite sample; a density or an inverse that fails


def score_samples(flow: AbstractDistribution) -> dict[str, np.ndarray]:
    """A few samples of a flow, their contexts if any, and their scores; empty, with a warning, if that fails."""
    context = None
    if flow.context_shape is not None:
        context = np.random.default_rng(0).standard_normal((N_POINTS, *flow.context_shape))
    try:
        x = _at_least_float32(flow.sample(() if context is not None else N_POINTS, key=0, context=context))
        scores = _at_least_float32(flow.log_prob(x, context))
    except _FAILURES as error:
        warnings.warn(
            f"the flow's samples cannot be scored ({error}) The file is written without the scores that verify it when "
            "it is loaded.",
            stacklevel=4,
        )
        return {}
    tensors = {"x": x, "context": context, "log_prob": scores}
    return {f"{_PREFIX}{name}": value for name, value in tensors.items() if value is not None}


def _at_least_float32(values: Any) -> np.ndarray:
    """Cast narrower types to float32, which is exact, and which the public methods accept."""
    values = np.asarray(values)
    return values.astype(np.promote_types(values.dtype, np.float32))


def describe(tensors: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    """The entry of the header for the stored scores: type and shape of each tensor."""
    return {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}


def parse_specs(described: Any) -> dict[str, Spec]:
    """The specs of the tensors from the entry of a header; a ModelFileError if it is not valid."""
    names = [{f"{_PREFIX}{name}" for name in names} for names in ((), ("x", "log_prob"), ("x", "context", "log_prob"))]
    if not isinstance(described, dict) or set(described) not in names:
        raise damaged("the header's probe does not describe points and their scores")
    specs = {}
    for name, entry in described.items():
        if not isinstance(entry, list) or len(entry) != 2:
            raise damaged(f"tensor {name!r} is not described by its type and shape")
        specs[name] = parse_spec(name, *entry)
        if specs[name].shape[:1] != (N_POINTS,):
            raise damaged(f"tensor {name!r} does not have {N_POINTS} points")
    return specs


def compare(flow: AbstractDistribution, tensors: dict[str, np.ndarray], dtype: str) -> None:
    """Raise a ModelFileError if the flow's scores of the stored points differ from the stored ones.

    The tolerance is a relative difference by number type, plus the effect of a rounding error in x.
    """
    if not tensors:
        return
    x, stored = tensors[f"{_PREFIX}x"], tensors[f"{_PREFIX}log_prob"]
    context = tensors.get(f"{_PREFIX}context")
    if x.shape[1:] != flow.shape or stored.shape != x.shape[:1]:
        raise damaged(f"the stored points have the shapes {x.shape} and {stored.shape}")
    if (None if context is None else context.shape[1:]) != flow.context_shape:
        raise damaged("the stored points have other contexts than the flow")
    perturbed = x * (1 + np.finfo(x.dtype).eps)
    contexts = None if context is None else np.concatenate([context, context])
    try:
        both = np.asarray(flow.log_prob(np.concatenate([x, perturbed]), contexts), np.float64)
    except _FAILURES as error:
        raise damaged(f"the stored points cannot be scored ({error})") from error
    scores, perturbed_scores = both[:N_POINTS], both[N_POINTS:]
    with np.errstate(invalid="ignore"):  # both are -inf at a point outside the support
        allowed = _RELATIVE.get(dtype, _RELATIVE_OTHER) * (1 + np.abs(scores))
        allowed = allowed + _ULPS * np.abs(scores - perturbed_scores)
        is_equal = (scores == stored) | (np.abs(scores - stored) <= allowed)
    if not is_equal.all():
        index = int(np.argmin(is_equal))
        raise ModelFileError(
            f"scores a stored point at {scores[index]:.6g} nats, it was {stored[index]:.6g} when the flow was saved: "
            "this version of pushforward or JAX computes another flow from the same numbers. Install the versions that "
            "wrote it, or pass verify=False to skip this check."
        )
