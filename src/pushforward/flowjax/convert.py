"""Conversion between pushforward and FlowJAX, by the kind of the object."""

from typing import Any

import flowjax.bijections
import flowjax.distributions

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.flowjax.bijections import FlowJAXBijection, PushforwardBijection
from pushforward.flowjax.distributions import FlowJAXDistribution, PushforwardDistribution


def from_flowjax(module: Any) -> AbstractBijection | AbstractDistribution:
    """Convert a bijection or a distribution of FlowJAX to one of pushforward.

    A `FlowJAXBijection` or a `FlowJAXDistribution`; for what `to_flowjax` returned, the object of pushforward itself,
    with its present weights.

    Args:
        module: a bijection or a distribution of FlowJAX.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> import flowjax.bijections, pushforward as pf
        >>> from pushforward.flowjax import from_flowjax
        >>> spline = from_flowjax(flowjax.bijections.RationalQuadraticSpline(knots=4, interval=3))
        >>> flow = pf.coupling_flow(dim=2, transformer=spline, key=0)
        >>> print(flow.sample(3, key=1).shape)
        (3, 2)
    """
    if isinstance(module, PushforwardBijection):
        return module.bijection
    if isinstance(module, PushforwardDistribution):
        return module.distribution
    if isinstance(module, flowjax.bijections.AbstractBijection):
        return FlowJAXBijection(module)
    if isinstance(module, flowjax.distributions.AbstractDistribution):
        return FlowJAXDistribution(module)
    raise TypeError(f"module: expected a bijection or a distribution of FlowJAX, got {module!r}.")


def to_flowjax(
    module: Any,
) -> flowjax.bijections.AbstractBijection | flowjax.distributions.AbstractDistribution:
    """Convert a bijection or a distribution of pushforward, such as a flow, to one of FlowJAX.

    A `PushforwardBijection` or a `PushforwardDistribution`; for what `from_flowjax` returned, the object of FlowJAX
    itself, with its present weights.

    Args:
        module: a bijection or a distribution of pushforward.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> from pushforward.flowjax import to_flowjax
        >>> print(to_flowjax(pf.nsf(dim=2, key=0)).log_prob(jnp.zeros((3, 2))).shape)
        (3,)
    """
    if isinstance(module, FlowJAXBijection):
        return module.bijection
    if isinstance(module, FlowJAXDistribution):
        return module.distribution
    if isinstance(module, AbstractBijection):
        return PushforwardBijection(module)
    if isinstance(module, AbstractDistribution):
        return PushforwardDistribution(module)
    raise TypeError(f"module: expected a bijection or a distribution of pushforward, got {module!r}.")
