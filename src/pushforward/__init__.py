"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

The verbs and the recipes are here; parts are in `pushforward.bijections`, `pushforward.bases`, `pushforward.networks`.
Names load on first use, so that a command's `--help` does not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from pushforward._version import __version__

if TYPE_CHECKING:
    from pushforward import bases, bijections, datasets, networks
    from pushforward.diagnostics import check
    from pushforward.fields import trainable
    from pushforward.flow import Flow, summary
    from pushforward.persistence import load, save
    from pushforward.recipes import coupling_flow, elementwise_flow, nice, nsf, real_nvp
    from pushforward.train import fit

_HOME = {
    "Flow": "pushforward.flow",
    "check": "pushforward.diagnostics",
    "coupling_flow": "pushforward.recipes",
    "elementwise_flow": "pushforward.recipes",
    "fit": "pushforward.train",
    "load": "pushforward.persistence",
    "nice": "pushforward.recipes",
    "nsf": "pushforward.recipes",
    "real_nvp": "pushforward.recipes",
    "save": "pushforward.persistence",
    "summary": "pushforward.flow",
    "trainable": "pushforward.fields",
}
_ROOMS = ("bases", "bijections", "datasets", "networks")

__all__ = [
    "Flow",
    "__version__",
    "bases",
    "bijections",
    "check",
    "coupling_flow",
    "datasets",
    "elementwise_flow",
    "fit",
    "load",
    "networks",
    "nice",
    "nsf",
    "real_nvp",
    "save",
    "summary",
    "trainable",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"pushforward.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
