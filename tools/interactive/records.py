"""The data of the interactive page: fitted flows, rows of the shapes, points of scalar maps, and the static picture."""

import base64
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from interactive import fits, weights
from pushforward.bijections import Affine, RationalQuadraticSpline, SinhArcsinh

N_SHOWN_ROWS = 500


def refitted(data: dict, families: Iterable[str]) -> dict:
    """The data with the flows of some families (by default of all) fitted again."""
    shapes = {name: fits.shape_named(name) for name in fits.SHAPES}
    data = {"flows": {}, "constants": {}} | data | {"scalars": scalar_maps()}
    data["shapes"] = {
        name: {"logLikelihood": round(shape.log_likelihood, 3), "rows": weights.encoded(shape.train[:N_SHOWN_ROWS])}
        for name, shape in shapes.items()
    }
    for family in families or fits.FAMILIES:
        for name, shape in shapes.items():
            for count in fits.counts(family, name):
                flow = fits.fitted(family, count, shape)
                record = weights.flow_record(family, flow, shape.test)
                data["flows"][f"{family}/{name}/{count}"] = record
                if family in ("affine", "spline"):
                    data["constants"][family] = weights.constants(flow)
                print(family, count, name, record["logLikelihood"], flush=True)
    return data


def scalar_maps() -> dict:
    """Parameters of scalar maps as the page has them, with points z, x and log T'(z) of the library's maps."""
    z = jnp.linspace(-4.5, 4.5, 15)

    def evaluated(layer: Any, at: Any) -> np.ndarray:
        x, log_slope = jax.vmap(layer.forward_and_log_det)(at)
        return np.column_stack([at, x, log_slope]).astype(float)

    skewed = eqx.tree_at(
        lambda layer: (layer.skew, layer.log_tail), SinhArcsinh(log_bound=5.0), (jnp.array(0.6), jnp.array(0.4))
    )
    tail = 5 * np.tanh(0.4 / 5)
    leaves = jnp.array([0.5, -0.4, 0.9, 0.0]), jnp.array([-0.6, 0.7, 0.2, 0.3]), jnp.array([1.0, -1.0, 0.5])
    spline = eqx.tree_at(lambda s: (s.widths, s.heights, s.slopes), RationalQuadraticSpline(4, bound=4.0), leaves)
    widths = 8.0 * (spline.min_bin + (1 - 4 * spline.min_bin) * jax.nn.softmax(leaves[0]))
    knots = evaluated(spline, -4.0 + jnp.cumsum(widths)[:3])
    knots[:, 2] = np.exp(knots[:, 2])
    maps = {
        "affine": ({"shift": 0.7, "scale": 1.6}, Affine(shift=0.7, scale=1.6)),
        "sinhArcsinh": ({"skew": 5 * np.tanh(0.6 / 5), "tail": np.exp(tail)}, skewed),
        "spline": ({"bound": 4.0, "knots": np.round(knots, 6).tolist()}, spline),
    }
    return {
        name: {"parameters": parameters, "points": np.round(evaluated(layer, z), 5).tolist()}
        for name, (parameters, layer) in maps.items()
    }


def static_picture(record: dict, reach: float = 3.3, size: int = 230) -> str:
    """A grid of the plane under 0, 2, 4 and 8 radial layers, from the stored weights of a flow, as SVG."""
    layers = np.frombuffer(base64.b64decode(record["weights"]), "<f4").reshape(8, 4)
    along, values = np.linspace(-3, 3, 49), np.linspace(-3, 3, 13)
    down = [np.column_stack([np.full(49, value), along]) for value in values]
    points, panels = np.array([*down, *(line[:, ::-1] for line in down)]), []
    for index in range(9):
        if index in (0, 2, 4, 8):
            panels.append(_panel(points, index, len(panels) * (size + 10), size, reach))
        if index < 8:
            centre, (alpha, m) = layers[index, :2], layers[index, 2:]
            steps = points - centre
            points = points + steps * (m / (1 + np.hypot(steps[..., :1], steps[..., 1:]) / alpha))
    width, height = 4 * (size + 10), size + 24
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="A square grid, bent step by step around a hole">'
        f'<g fill="none" stroke="currentColor" stroke-width="0.7" font-family="sans-serif">{"".join(panels)}</g></svg>'
    )


def _panel(lines: np.ndarray, n_layers: int, left: float, size: int, reach: float) -> str:
    """One picture of the row: the lines as paths, cut off by a nested viewport, and a caption."""
    pixels = np.round((lines * [1, -1] + reach) * size / (2 * reach), 1)
    paths = "".join(f'<path d="M{" ".join(f"{x:g},{y:g}" for x, y in line)}"/>' for line in pixels)
    caption = "base" if n_layers == 0 else f"{n_layers} layers"
    return (
        f'<svg x="{left:g}" width="{size}" height="{size}" viewBox="0 0 {size} {size}">{paths}'
        f'<rect width="{size}" height="{size}"/></svg>'
        f'<text x="{left + size / 2:g}" y="{size + 17}" fill="currentColor" stroke="none" text-anchor="middle" '
        f'font-size="14">{caption}</text>'
    )
