"""The registry of every bijection, base and recipe, one row each, for the battery.

A new scalar bijection needs one entry in `scalars.SCALARS`; a new recipe one in `recipes.RECIPES`. A guard fails if a
concrete class of the library has no row.

rows         the known properties of one bijection
builders     small layers for rows
scalars, layers, autoregressive, linear, planar_radial, spaces, residual, convolutional, images, recipes, flowjax
             the rows
bases        base distributions
"""

import jax

from zoo.autoregressive import autoregressive_rows
from zoo.bases import BASES
from zoo.builders import conditional
from zoo.convolutional import convolutional_rows
from zoo.flowjax import flowjax_rows
from zoo.images import IMAGE_RECIPES, image_recipe_rows, image_rows
from zoo.layers import layer_rows
from zoo.linear import linear_rows
from zoo.planar_radial import planar_radial_rows
from zoo.recipes import RECIPES, recipe_rows
from zoo.residual import residual_rows
from zoo.rows import BOTH, CIRCLE, CONTEXT_DIM, LINE, OPEN, POSITIVE, SIMPLEX, UNIT, Row
from zoo.scalars import SCALARS, scalar_rows
from zoo.spaces import space_rows

ALL_ROWS: list[Row] = [
    *scalar_rows(),
    *layer_rows(),
    *autoregressive_rows(),
    *linear_rows(),
    *planar_radial_rows(),
    *space_rows(),
    *residual_rows(),
    *convolutional_rows(),
    *image_rows(),
    *image_recipe_rows(),
    *recipe_rows(),
    *flowjax_rows(),
]
_DTYPE = "float64" if jax.config.jax_enable_x64 else "float32"
ROWS = [row for row in ALL_ROWS if _DTYPE in row.quick]
SLOW_ROWS = [row for row in ALL_ROWS if _DTYPE not in row.quick]

__all__ = [
    "ALL_ROWS",
    "BASES",
    "BOTH",
    "CIRCLE",
    "CONTEXT_DIM",
    "IMAGE_RECIPES",
    "LINE",
    "OPEN",
    "POSITIVE",
    "RECIPES",
    "ROWS",
    "SCALARS",
    "SIMPLEX",
    "SLOW_ROWS",
    "UNIT",
    "Row",
    "conditional",
]
