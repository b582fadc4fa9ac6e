"""Flows in NumPyro: as distributions in a model, as a variational guide, and as the map of neural transport.

    from pushforward.numpyro import AutoPushforward, FlowDistribution

Needs NumPyro: pip install "pushforward[numpyro]".
"""

from pushforward.errors import MissingExtra

try:
    import numpyro  # noqa: F401
except ModuleNotFoundError as fault:
    if fault.name != "numpyro":
        raise
    raise MissingExtra("numpyro", "numpyro", "pushforward.numpyro") from fault

from pushforward.numpyro.distribution import FlowDistribution
from pushforward.numpyro.guide import AutoPushforward
from pushforward.numpyro.transform import FlowTransform

__all__ = ["AutoPushforward", "FlowDistribution", "FlowTransform"]
