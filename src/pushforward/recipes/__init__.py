"""Recipes: functions that build named flows; those of images take a shape instead of `dim`."""

import inspect
from collections.abc import Callable

from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import autoregressive_flow, inverse_autoregressive_flow
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.dequantisation_flow import dequantisation_flow as dequantisation_flow
from pushforward.recipes.elementwise_flow import elementwise_flow
from pushforward.recipes.flowpp import flowpp
from pushforward.recipes.gaussianization_flow import gaussianization_flow
from pushforward.recipes.glow import emerging_glow, glow, periodic_glow
from pushforward.recipes.linear_flow import linear_flow
from pushforward.recipes.maf import iaf, made, made_mog, maf, maf_mog
from pushforward.recipes.naf import bnaf, naf, naf_ar, umnn_maf
from pushforward.recipes.nsf import nsf, nsf_ar
from pushforward.recipes.planar_flow import planar_flow, radial_flow, sylvester_flow
from pushforward.recipes.polynomial_flow import bernstein_flow, sos_flow
from pushforward.recipes.real_nvp import nice, real_nvp, real_nvp_image
from pushforward.recipes.residual_flow import i_resnet, residual_flow, residual_flow_image
from pushforward.recipes.space_flow import space_flow as space_flow
from pushforward.recipes.transformer_flow import transformer_flow
from pushforward.recipes.wavenet import parallel_wavenet, wavenet

# The one table of recipes. `pushforward/__init__.py` and `cli/completion.py` read it as text: an import loads JAX.
__all__ = [
    "autoregressive_flow", "bernstein_flow", "bnaf", "coupling_flow", "elementwise_flow", "emerging_glow", "flowpp",
    "gaussianization_flow", "glow", "i_resnet", "iaf", "inverse_autoregressive_flow", "linear_flow", "made",
    "made_mog", "maf", "maf_mog", "naf", "naf_ar", "nice", "nsf", "nsf_ar", "parallel_wavenet", "periodic_glow",
    "planar_flow", "radial_flow", "real_nvp", "real_nvp_image", "residual_flow", "residual_flow_image", "sos_flow",
    "sylvester_flow", "transformer_flow", "umnn_maf", "wavenet",
]  # fmt: skip


def _recipes(first_argument: str) -> dict[str, Callable[..., Flow]]:
    recipes = {name: globals()[name] for name in __all__}
    return {name: recipe for name, recipe in recipes.items() if first_argument in inspect.signature(recipe).parameters}


RECIPES = _recipes("dim")
IMAGE_RECIPES = _recipes("shape")
