"""Checks of a flow that was rebuilt from a file: the invariants that its constructors enforce."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward.bijections import MarginalGaussianization, Whiten
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.stacked import stacked_field, unstack
from pushforward.core.state import certify
from pushforward.errors import ModelFileError
from pushforward.networks import bounds_in
from pushforward.numerics.arrays import is_array
from pushforward.numerics.programs import flatten, float_type
from pushforward.persistence.container import damaged
from pushforward.persistence.limits import check_array_sizes, check_limits

# Errors that a module with invalid numbers may raise; others are faults of the library.
_EXPECTED_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
_ROUNDING = 1e-4  # relative difference of bounds between machines


def check_flow(flow: Any) -> None:
    """Check that the modules of a flow are valid and compatible.

    Raises:
        ModelFileError: naming the module that is not.
    """
    if not isinstance(flow, AbstractDistribution):
        raise ModelFileError(f"holds a {type(flow).__name__}, expected a flow or another distribution.")
    try:
        event_size = math.prod(flow.shape)
    except _EXPECTED_ERRORS as error:
        raise damaged(f"its parts do not fit together ({_first_line(error)})") from error
    _check_values(flow, "", event_size)
    _check_init(flow, "")
    dtype = float_type(flatten(flow)[0])
    try:
        x = jax.ShapeDtypeStruct(flow.shape, dtype)
        context = None if flow.context_shape is None else jax.ShapeDtypeStruct(flow.context_shape, dtype)
        score = jax.eval_shape(lambda x, context: flow.log_prob_one(x, context, None), x, context)
        key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
        sample, _ = jax.eval_shape(flow.sample_and_log_prob_one, key, context)
    except _EXPECTED_ERRORS as error:
        raise damaged(f"its parts do not fit together ({_first_line(error)})") from error
    if score.shape != () or sample.shape != flow.shape:
        got, expected = (score.shape, sample.shape), ((), flow.shape)
        raise damaged(f"its log-density and its samples have the shapes {got}, expected {expected}")
    _check_bounds(flow)


def _check_bounds(flow: Any) -> None:
    """Compare stored Lipschitz bounds with new ones of the weights."""
    for stored, certified in zip(bounds_in(flow), bounds_in(certify(flow)), strict=True):
        if not np.all(np.asarray(certified) <= np.asarray(stored) * (1 + _ROUNDING)):
            raise ModelFileError(
                f"states a Lipschitz bound of {np.max(stored):.6g}, but its weights have {np.max(certified):.6g}: "
                "call pushforward.finalise on the flow and save it again."
            )


def _check_init(node: Any, path: str) -> None:
    """Run every `__check_init__`, inner modules first; of stacked modules, which have equal shapes, only the first."""
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            _check_init(item, f"{path}.{index}")
        return
    if not isinstance(node, eqx.Module):
        return
    for field in dataclasses.fields(node):
        child = getattr(node, field.name)
        child_path = f"{path}.{field.name}".lstrip(".")
        if field.name == stacked_field(node):
            child = _first_of(child, len(node), child_path)
        _check_init(child, child_path)
    for cls in reversed(type(node).__mro__):
        if "__check_init__" in cls.__dict__:
            try:
                cls.__dict__["__check_init__"](node)
            except _EXPECTED_ERRORS as error:
                name = type(node).__name__
                raise damaged(f"{name} at {path or 'its root'} is invalid ({_first_line(error)})") from error


def _first_of(stacked: Any, n: int, path: str) -> Any:
    """The first of n stacked modules."""
    leaves = [leaf for leaf in jax.tree.leaves(stacked) if is_array(leaf)]
    if any(leaf.shape[:1] != (n,) for leaf in leaves) or n < 1:
        raise damaged(f"{path} does not hold {n} stacked modules")
    return unstack(stacked, 0)


def _check_values(node: Any, path: str, event_size: int) -> None:
    """Check constants that constructors check too: orders are permutations, scales are positive.

    Fields are known by their names, which mean the same in all modules; layers may be stacked along leading axes.
    """
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            _check_values(item, f"{path}.{index}", event_size)
    if not isinstance(node, eqx.Module):
        return
    values = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    start = f"{path}." if path else ""
    for name, child in values.items():
        _check_values(child, f"{start}{name}", event_size)
    if type(node).__module__.startswith("equinox."):
        check_array_sizes(values, start)
    if not type(node).__module__.startswith("pushforward."):
        return
    check_limits(values, start, event_size)
    if is_array(values.get("order")) and is_array(values.get("inverse_order")):
        order, inverse = np.asarray(values["order"]), np.asarray(values["inverse_order"])
        identity = np.arange(order.shape[-1] if order.ndim else 0)
        if (
            order.ndim == 0
            or order.shape != inverse.shape
            or order.dtype.kind not in "iu"
            or inverse.dtype.kind not in "iu"
            or (np.sort(order, -1) != identity).any()
            or (np.sort(inverse, -1) != identity).any()
            or (np.take_along_axis(order, inverse, -1) != identity).any()
        ):
            raise damaged(f"{start}order and {start}inverse_order are not a permutation and its inverse")
    if is_array(values.get("scale")) and not (np.asarray(values["scale"]) > 0).all():
        raise damaged(f"{start}scale has numbers that are not positive")
    if isinstance(node, MarginalGaussianization):
        knots = [np.asarray(part) for part in (node.x_knots, node.z_knots)]
        if knots[0].shape != knots[1].shape or knots[0].shape[-2:-1] != node.shape or knots[0].shape[-1] < 2:
            raise damaged(f"{start}x_knots and {start}z_knots are not two arrays (D, K + 1)")
        if not all((np.diff(part) > 0).all() for part in knots):
            raise damaged(f"{start}x_knots or {start}z_knots do not increase")
    if isinstance(node, Whiten):
        factor = np.asarray(node.factor)
        diagonal = np.diagonal(factor, axis1=-2, axis2=-1) if factor.ndim > 1 else factor
        if factor.shape[-2:] != node.shape * 2 or not (diagonal > 0).all() or np.triu(factor, 1).any():
            raise damaged(f"{start}factor is not a lower triangular matrix with a positive diagonal")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
