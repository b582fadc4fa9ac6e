"""The check of an argument that must be a flow: what came instead, and the order of the arguments."""

import inspect
from typing import Any

from pushforward.core.distribution import AbstractDistribution


def check_flow_argument(name: str, value: Any, call: str) -> None:
    """Refuse anything but a distribution.

    Args:
        name: of the argument.
        value: that came.
        call: the function with its arguments in their order, such as "fit(flow, x)".

    Raises:
        TypeError: if the value is no distribution.

    >>> check_flow_argument("flow", 0.5, "fit(flow, x)")
    Traceback (most recent call last):
        ...
    TypeError: flow: expected a flow, such as pushforward.nsf(dim=2, key=0), got float. The order is fit(flow, x).
    """
    if isinstance(value, AbstractDistribution):
        return
    got, fix = type(value).__name__, f"The order is {call}"
    if inspect.isroutine(value) or inspect.isclass(value):
        label = getattr(value, "__name__", repr(value))
        got = f"the {'class' if inspect.isclass(value) else 'function'} {label}"
        fix = f"If it builds a flow, call it first. {fix}"
    raise TypeError(f"{name}: expected a flow, such as pushforward.nsf(dim=2, key=0), got {got}. {fix}.")
