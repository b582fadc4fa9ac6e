"""Flows in NumPyro: distributions in a model, variational guides, and maps for neural transport.

    from pushforward.numpyro import AutoPushforward, FlowDistribution

Needs NumPyro: pip install "pushforward[numpyro]".
"""

from pushforward.errors import MissingExtra

try:
    import numpyro  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "numpyro":
        raise
    raise MissingExtra("numpyro", "numpyro", "pushforward.numpyro") from error

from pushforward.numpyro.distribution import FlowDistribution
from pushforward.numpyro.guide import AutoPushforward
from pushforward.numpyro.transform import FlowTransform

__all__ = ["AutoPushforward", "FlowDistribution", "FlowTransform"]
