"""The flows of the interactive page: families, numbers of layers and shapes, fitted by maximum likelihood."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special

import pushforward as pf
from pushforward.bijections import Chain, Standardise, Triangular
from pushforward.core.flow import Flow

N_ROWS, N_TEST_ROWS = 5000, 5000
RING_NOISE = 0.1
FEW, MANY = (1, 2, 4, 8), (1, 2, 4, 8, 16, 32)
SMALL = {"width": 16, "activation": "tanh", "whiten": False}  # small networks, so that the page stays small


@dataclass(frozen=True)
class Family:
    """A family of flows.

    Attributes:
        make: called as make(n_layers, key).
        counts: the numbers of layers K.
        starts: start weights that are tried; the flow with the best validation likelihood is used.
        epochs: the most passes over the rows.
    """

    make: Callable[[int, int], Flow]
    counts: tuple[int, ...]
    starts: int = 1
    epochs: int = 200


def triangular(n_layers: int, key: int) -> Flow:
    """Triangular linear layers, lower and upper ones alternately."""
    return Flow(pf.bases.Normal((2,)), Chain([Triangular(2, lower=index % 2 == 0) for index in range(n_layers)]))


FAMILIES = {
    "linear": Family(triangular, (1, 2, 4)),
    "planar": Family(lambda n, key: pf.planar_flow(2, key=key, n_layers=n, whiten=False), MANY),
    "radial": Family(lambda n, key: pf.radial_flow(2, key=key, n_layers=n, whiten=False), MANY, starts=4),
    "affine": Family(lambda n, key: pf.real_nvp(2, key=key, n_layers=n, **SMALL), FEW),
    "spline": Family(lambda n, key: pf.nsf(2, key=key, n_layers=n, **SMALL), FEW),
    "autoregressive": Family(lambda n, key: pf.maf(2, key=key, n_layers=n, **SMALL), FEW),
    "residual": Family(lambda n, key: pf.residual_flow(2, key=key, n_layers=n, width=16, whiten=False), FEW, epochs=80),
}

# Here more layers give maps that are too steep between the modes for the page's mesh.
LARGEST = {("affine", "eight_gaussians"): 2, ("autoregressive", "eight_gaussians"): 4}


def counts(family: str, shape: str) -> list[int]:
    """The numbers of layers that the page has."""
    return [count for count in FAMILIES[family].counts if count <= LARGEST.get((family, shape), max(MANY))]


def ring(n: int, *, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * random.random(n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) + RING_NOISE * random.standard_normal((n, 2))


def ring_log_density(x: np.ndarray) -> np.ndarray:
    """A circle of radius one blurred by a normal: a Bessel function of the radius."""
    radius, variance = np.hypot(*x.T), RING_NOISE**2
    bessel = np.log(scipy.special.i0e(radius / variance))
    return bessel - (radius - 1) ** 2 / (2 * variance) - np.log(2 * np.pi * variance)


SHAPES = ("moons", "ring", "eight_gaussians")


@dataclass(frozen=True)
class Shape:
    """Rows of a shape in units in which both columns have mean 0 and standard deviation 1.

    Attributes:
        train, test: rows.
        log_likelihood: mean log-density of the test rows under the density that they are drawn from, in nats.
    """

    train: np.ndarray
    test: np.ndarray
    log_likelihood: float


def shape_named(name: str) -> Shape:
    draw = ring if name == "ring" else lambda n, seed: np.asarray(pf.datasets.toy(name, n, seed=seed))
    train, test = draw(N_ROWS, seed=1), draw(N_TEST_ROWS, seed=2)
    log_density = ring_log_density(test) if name == "ring" else np.asarray(pf.datasets.toy_log_density(name, test))
    mean, scale = train.mean(0), train.std(0)
    return Shape((train - mean) / scale, (test - mean) / scale, float(log_density.mean() + np.log(scale).sum()))


def fitted(family: str, n_layers: int, shape: Shape) -> Flow:
    """The flow of a family fitted to a shape; the rows are standardised, so it needs no `Standardise` layer."""
    candidates = []
    for key in range(FAMILIES[family].starts):
        flow = FAMILIES[family].make(n_layers, key)
        if isinstance(flow.layers[-1], Standardise):
            flow = pf.remove_layer(flow, len(flow.layers) - 1)
        epochs = FAMILIES[family].epochs
        flow, history = pf.fit(flow, shape.train, key=key, start="given", max_epochs=epochs, progress=False)
        candidates.append((history.best_validation, key, flow))
    return max(candidates, key=lambda candidate: candidate[:2])[-1]
