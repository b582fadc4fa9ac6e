"""Recipes: named flows, each a function of about ten lines over the parts."""

from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.elementwise_flow import elementwise_flow
from pushforward.recipes.nsf import nsf
from pushforward.recipes.real_nvp import nice, real_nvp

RECIPES = {recipe.__name__: recipe for recipe in (coupling_flow, elementwise_flow, nice, nsf, real_nvp)}

__all__ = ["RECIPES", "coupling_flow", "elementwise_flow", "nice", "nsf", "real_nvp"]
