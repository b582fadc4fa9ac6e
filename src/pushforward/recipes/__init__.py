"""Recipes: functions that build named flows; those of images take a shape instead of `dim`."""

from pushforward.recipes.autoregressive_flow import autoregressive_flow
from pushforward.recipes.bernstein_flow import bernstein_flow
from pushforward.recipes.bnaf import bnaf
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.dequantisation_flow import dequantisation_flow
from pushforward.recipes.elementwise_flow import elementwise_flow
from pushforward.recipes.emerging_glow import emerging_glow
from pushforward.recipes.flowpp import flowpp
from pushforward.recipes.glow import glow
from pushforward.recipes.linear_flow import linear_flow
from pushforward.recipes.maf import iaf, made, made_mog, maf, maf_mog
from pushforward.recipes.naf import naf, naf_ar
from pushforward.recipes.nsf import nsf
from pushforward.recipes.nsf_ar import nsf_ar
from pushforward.recipes.periodic_glow import periodic_glow
from pushforward.recipes.planar_flow import planar_flow, radial_flow, sylvester_flow
from pushforward.recipes.real_nvp import nice, real_nvp
from pushforward.recipes.real_nvp_image import real_nvp_image
from pushforward.recipes.residual_flow import i_resnet, residual_flow
from pushforward.recipes.residual_flow_image import residual_flow_image
from pushforward.recipes.sos_flow import sos_flow
from pushforward.recipes.transformer_flow import transformer_flow
from pushforward.recipes.umnn_maf import umnn_maf
from pushforward.recipes.wavenet import parallel_wavenet, wavenet

_ALL = (
    autoregressive_flow, bernstein_flow, bnaf, coupling_flow, elementwise_flow, flowpp, i_resnet, iaf, linear_flow,
    made, made_mog, maf, maf_mog, naf, naf_ar, nice, nsf, nsf_ar, parallel_wavenet, planar_flow, radial_flow, real_nvp,
    residual_flow, sos_flow, sylvester_flow, transformer_flow, umnn_maf, wavenet,
)  # fmt: skip
_IMAGES = (emerging_glow, glow, periodic_glow, real_nvp_image, residual_flow_image)
RECIPES = {recipe.__name__: recipe for recipe in _ALL}
IMAGE_RECIPES = {recipe.__name__: recipe for recipe in _IMAGES}

__all__ = ["IMAGE_RECIPES", "RECIPES", "dequantisation_flow", *RECIPES, *IMAGE_RECIPES]
