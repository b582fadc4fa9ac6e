"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

The verbs and the recipes are here; parts are in `pushforward.bijections`, `pushforward.bases`, `pushforward.networks`.
Names load on first use, so that a command's `--help` does not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from pushforward._version import __version__

if TYPE_CHECKING:
    from pushforward import bases, bijections, datasets, diagnostics, networks
    from pushforward.dequantise import Dequantised, bits_per_dim
    from pushforward.diagnostics import check, importance_sample
    from pushforward.estimator import ConditionalFlowDensity, FlowDensity
    from pushforward.fields import cast, trainable
    from pushforward.flow import Flow, summary
    from pushforward.leaderboard import compare
    from pushforward.lengths import of_length
    from pushforward.persistence import export, load, save
    from pushforward.recipes import (
        autoregressive_flow,
        bernstein_flow,
        bnaf,
        coupling_flow,
        dequantisation_flow,
        elementwise_flow,
        emerging_glow,
        flowpp,
        glow,
        i_resnet,
        iaf,
        linear_flow,
        made,
        made_mog,
        maf,
        maf_mog,
        naf,
        naf_ar,
        nice,
        nsf,
        nsf_ar,
        parallel_wavenet,
        periodic_glow,
        planar_flow,
        radial_flow,
        real_nvp,
        real_nvp_image,
        residual_flow,
        residual_flow_image,
        sos_flow,
        sylvester_flow,
        transformer_flow,
        umnn_maf,
        wavenet,
    )
    from pushforward.rounded import Rounded
    from pushforward.train import distill, fit, fit_target

_HOME = {
    "ConditionalFlowDensity": "pushforward.estimator",
    "Dequantised": "pushforward.dequantise",
    "Rounded": "pushforward.rounded",
    "Flow": "pushforward.flow",
    "FlowDensity": "pushforward.estimator",
    "autoregressive_flow": "pushforward.recipes",
    "bernstein_flow": "pushforward.recipes",
    "bits_per_dim": "pushforward.dequantise",
    "bnaf": "pushforward.recipes",
    "cast": "pushforward.fields",
    "check": "pushforward.diagnostics",
    "compare": "pushforward.leaderboard",
    "coupling_flow": "pushforward.recipes",
    "dequantisation_flow": "pushforward.recipes",
    "distill": "pushforward.train",
    "elementwise_flow": "pushforward.recipes",
    "emerging_glow": "pushforward.recipes",
    "export": "pushforward.persistence",
    "fit": "pushforward.train",
    "fit_target": "pushforward.train",
    "flowpp": "pushforward.recipes",
    "glow": "pushforward.recipes",
    "i_resnet": "pushforward.recipes",
    "iaf": "pushforward.recipes",
    "importance_sample": "pushforward.diagnostics",
    "linear_flow": "pushforward.recipes",
    "load": "pushforward.persistence",
    "made": "pushforward.recipes",
    "made_mog": "pushforward.recipes",
    "maf": "pushforward.recipes",
    "maf_mog": "pushforward.recipes",
    "naf": "pushforward.recipes",
    "naf_ar": "pushforward.recipes",
    "nice": "pushforward.recipes",
    "nsf": "pushforward.recipes",
    "nsf_ar": "pushforward.recipes",
    "of_length": "pushforward.lengths",
    "parallel_wavenet": "pushforward.recipes",
    "periodic_glow": "pushforward.recipes",
    "planar_flow": "pushforward.recipes",
    "radial_flow": "pushforward.recipes",
    "real_nvp": "pushforward.recipes",
    "real_nvp_image": "pushforward.recipes",
    "residual_flow": "pushforward.recipes",
    "residual_flow_image": "pushforward.recipes",
    "save": "pushforward.persistence",
    "sos_flow": "pushforward.recipes",
    "summary": "pushforward.flow",
    "sylvester_flow": "pushforward.recipes",
    "trainable": "pushforward.fields",
    "transformer_flow": "pushforward.recipes",
    "umnn_maf": "pushforward.recipes",
    "wavenet": "pushforward.recipes",
}
_ROOMS = ("bases", "bijections", "datasets", "diagnostics", "networks")

__all__ = [
    "ConditionalFlowDensity",
    "Dequantised",
    "Flow",
    "FlowDensity",
    "Rounded",
    "__version__",
    "autoregressive_flow",
    "bases",
    "bernstein_flow",
    "bijections",
    "bits_per_dim",
    "bnaf",
    "cast",
    "check",
    "compare",
    "coupling_flow",
    "datasets",
    "dequantisation_flow",
    "diagnostics",
    "distill",
    "elementwise_flow",
    "emerging_glow",
    "export",
    "fit",
    "fit_target",
    "flowpp",
    "glow",
    "i_resnet",
    "iaf",
    "importance_sample",
    "linear_flow",
    "load",
    "made",
    "made_mog",
    "maf",
    "maf_mog",
    "naf",
    "naf_ar",
    "networks",
    "nice",
    "nsf",
    "nsf_ar",
    "of_length",
    "parallel_wavenet",
    "periodic_glow",
    "planar_flow",
    "radial_flow",
    "real_nvp",
    "real_nvp_image",
    "residual_flow",
    "residual_flow_image",
    "save",
    "sos_flow",
    "summary",
    "sylvester_flow",
    "trainable",
    "transformer_flow",
    "umnn_maf",
    "wavenet",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"pushforward.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
