"""The numbers of a fitted flow that `maps.js` needs to evaluate it: arrays in a fixed order for each family."""

import base64
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import Affine, Inverse, RationalQuadraticSpline
from pushforward.bijections.planar_radial.nonlinearity import bounded_scale
from pushforward.core.flow import Flow

POINTS = 12  # where the page compares its map with the library's


def linear(layer: Any) -> list[Any]:
    """A row by row, then b, of x = A z + b."""
    shift = layer.forward(jnp.zeros(2))
    return [jnp.stack([layer.forward(jnp.eye(2)[i]) - shift for i in range(2)], axis=1), shift]


def planar(layer: Any) -> list[Any]:
    """v, w, b of x = z + v tanh(w.z + b)."""
    return [layer.u * bounded_scale(layer.w @ layer.u)[1], layer.w, layer.bias]


def radial(layer: Any) -> list[Any]:
    """The centre, alpha and m of x = z + alpha m (z - centre) / (alpha + r), by two evaluations: k(0) = 1."""
    m = bounded_scale(layer.raw_scale)[0]
    # one unit from the centre the step is m alpha / (alpha + 1)
    step = (layer.forward(layer.centre + jnp.array([1.0, 0.0])) - layer.centre)[0] - 1
    return [layer.centre, step / (m - step), m]


def mlp(network: Any) -> list[Any]:
    """The weights of a perceptron, each matrix with one row an output."""
    hidden = [array for weight, bias in zip(network.weights, network.biases, strict=True) for array in (weight.T, bias)]
    return [*hidden, network.out_weight, network.out_bias]


def starts(transformer: Any) -> Any:
    """The start values to which a network's output is added, as one array."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(transformer)])


def coupling(layer: Any) -> list[Any]:
    """The index of the transformed coordinate, and the perceptron with the start values in its last bias."""
    *arrays, bias = mlp(layer.network)
    return [layer.order[:1], *arrays, bias + starts(layer.transformer)[:, None]]


def autoregressive(layer: Any) -> list[Any]:
    """The index of the first coordinate, its parameters, and the perceptron that gives those of the other one."""
    network, start = layer.network, starts(layer.transformer)
    first, *others = network.weights
    hidden = [first[:, :1], network.biases[0]]
    for weight, bias in zip(others, network.biases[1:], strict=True):
        hidden += [weight, bias]
    return [
        network.order[:1], network.out_bias[:, 0] + start,
        *hidden, network.out_weight[:, 1], network.out_bias[:, 1] + start,
    ]  # fmt: skip


def residual(pair: tuple[Any, Any]) -> list[Any]:
    """The network g of z = y + g(y), the slopes of LipSwish, and the scale and shift of x = scale y + shift."""
    network = pair[0].bijection.network
    dense = [array for layer in network.layers for array in (layer.scaled().T, layer.bias)]
    shift = pair[1].forward(jnp.zeros(2))
    return [*dense, jax.nn.softplus(network.slopes), pair[1].forward(jnp.ones(2)) - shift, shift]


EXPORTS = {
    "linear": linear, "planar": planar, "radial": radial, "affine": coupling, "spline": coupling,
    "autoregressive": autoregressive, "residual": residual,
}  # fmt: skip


def flow_record(family: str, flow: Flow, test: np.ndarray) -> dict:
    """What the page stores of a flow: weights, the log-likelihood of test rows, and points of the library's map."""
    layers: tuple[Any, ...] = flow.layers
    if family == "residual":
        layers = tuple(zip(layers[::2], layers[1::2], strict=True))
    arrays = [np.asarray(array, "<f4").ravel() for layer in layers for array in EXPORTS[family](layer)]
    z = np.random.default_rng(7).normal(size=(POINTS, 2)).astype("float32")
    x, log_det = jax.vmap(flow.bijection.forward_and_log_det)(jnp.asarray(z))
    return {
        "logLikelihood": round(float(np.mean(flow.log_prob(test))), 3),
        "weights": encoded(np.concatenate(arrays)),
        "points": encoded(np.column_stack([z, np.asarray(x), np.asarray(log_det)])),
    }


def encoded(array: np.ndarray) -> str:
    """Little-endian float32 in base64."""
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()


def constants(flow: Flow) -> dict:
    """The constants of the transformer of a coupling flow."""
    transformer = flow.layers[0].transformer
    if isinstance(transformer, Affine):
        return {"logBound": transformer.log_bound}
    spline = transformer.bijection if isinstance(transformer, Inverse) else None
    if not isinstance(spline, RationalQuadraticSpline):
        raise TypeError(f"transformer: expected an affine map or the inverse of a spline, got {transformer!r:.60}.")
    return {"bins": len(spline.widths), "slopeOffset": float(spline._box().slope_offset)} | {
        name: getattr(spline, field) for name, field in
        (("bound", "bound"), ("minBin", "min_bin"), ("minSlope", "min_slope"), ("maxRatio", "max_ratio"))
    }  # fmt: skip
