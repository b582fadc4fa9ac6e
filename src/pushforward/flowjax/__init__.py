"""Bijections and distributions of FlowJAX in flows of pushforward, and the other way round.

    from pushforward.flowjax import from_flowjax, to_flowjax

Needs FlowJAX: pip install "pushforward[flowjax]".
"""

from pushforward.errors import MissingExtra

try:
    import flowjax  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "flowjax":
        raise
    raise MissingExtra("FlowJAX", "flowjax", "pushforward.flowjax") from error

from pushforward.flowjax.bijections import FlowJAXBijection, PushforwardBijection
from pushforward.flowjax.convert import from_flowjax, to_flowjax
from pushforward.flowjax.distributions import FlowJAXDistribution, PushforwardDistribution

__all__ = [
    "FlowJAXBijection",
    "FlowJAXDistribution",
    "PushforwardBijection",
    "PushforwardDistribution",
    "from_flowjax",
    "to_flowjax",
]
