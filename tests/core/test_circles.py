"""Flows of angles: circular coordinates are not rescaled, networks receive cosines and sines, periodicity holds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised

import pushforward as pf
from pushforward.bijections import (
    Affine,
    Chain,
    CircularSpline,
    Coupling,
    Elementwise,
    MaskedAutoregressive,
    Standardise,
    halves,
    n_parameters,
)
from pushforward.core.circles import circular_coordinates, is_circular
from pushforward.errors import ShapeError
from pushforward.networks import MLP, MaskedMLP, PeriodicInputs

SMALL = {"transformer": CircularSpline(4), "n_layers": 2, "width": 8, "depth": 1, "key": 0}
BUILDERS = {
    "coupling": lambda **more: pf.coupling_flow(3, **SMALL, **more),
    "coupling residual": lambda **more: pf.coupling_flow(2, **SMALL, residual=True, **more),
    "autoregressive": lambda **more: pf.autoregressive_flow(2, **SMALL, activation="tanh", **more),
    "autoregressive of four": lambda **more: pf.autoregressive_flow(4, **SMALL, activation="tanh", **more),
    "fast sampling": lambda **more: pf.inverse_autoregressive_flow(3, **SMALL, **more),
    "attention": lambda **more: pf.autoregressive_flow(
        3, **SMALL | {"width": 8}, conditioner="attention", n_heads=2, token_size=2, **more
    ),
    "one angle": lambda **more: pf.coupling_flow(1, **SMALL, **more),
}
PI = float(np.float32(np.pi))


def random_flow(name, **more):
    flow = BUILDERS[name](**more)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    return eqx.combine(randomised(trained, 0.15), rest)


QUICK = ("coupling", 2), ("attention", None)


@pytest.mark.parametrize(
    ("name", "context_dim"),
    [
        pytest.param(name, dim, marks=() if (name, dim) in QUICK else pytest.mark.slow)
        for name in BUILDERS
        for dim in (None, 2)
    ],
)
def test_flows_of_angles(name, context_dim):
    """Samples lie on the circle; log_prob matches them, is periodic and continuous, and integrates to one."""
    flow = random_flow(name, context_dim=context_dim)
    context = None if context_dim is None else jnp.array([0.3, -1.0])
    dim = flow.shape[0]
    x, scores = flow.sample_and_log_prob(200, key=1, context=context)
    assert np.abs(x).max() <= PI
    assert isinstance(flow.base, pf.bases.Uniform)
    np.testing.assert_allclose(flow.log_prob(x, context), scores, atol=2e-3)
    shifted = np.asarray(x, np.float64).copy()
    shifted[:, 0] += 2 * np.pi
    np.testing.assert_allclose(flow.log_prob(shifted, context), scores, atol=2e-3)
    edge = np.asarray(x, np.float64)[:50, None, :].repeat(2, 1)
    for column in range(dim):
        at = edge.copy()
        at[..., column] = [-np.pi + 1e-5, np.pi - 1e-5]
        left, right = np.asarray(flow.log_prob(at, context)).T
        np.testing.assert_allclose(left, right, atol=5e-3)
    if dim <= 2:
        n = {1: 1024, 2: 64}[dim]
        axis = (np.arange(n) + 0.5) / n * 2 * np.pi - np.pi
        grid = np.stack(np.meshgrid(*[axis] * dim), -1).reshape(-1, dim)
        log_probs = [flow.log_prob(part, context) for part in np.split(grid, len(grid) // 256)]
        total = np.exp(np.asarray(log_probs, np.float64)).sum() * (2 * np.pi / n) ** dim
        assert abs(total - 1) < 2e-3


@pytest.mark.parametrize("method", ["sequential", pytest.param("jacobi", marks=pytest.mark.slow)])
def test_forward_and_inverse_agree_for_every_method(method):
    flow = random_flow("autoregressive of four", method=method)
    z = np.random.default_rng(0).uniform(-3, 3, (20, 4)).astype(np.float32)
    x, log_det = jax.vmap(flow.bijection.forward_and_log_det)(z)
    back, other = jax.vmap(flow.bijection.inverse_and_log_det)(x)
    np.testing.assert_allclose(back, z, atol=2e-4)
    np.testing.assert_allclose(log_det, -other, atol=2e-4)
    jacobian = jax.vmap(jax.jacrev(flow.bijection.inverse))(x)
    np.testing.assert_allclose(np.linalg.slogdet(np.asarray(jacobian, np.float64))[1], other, atol=2e-3)


@pytest.mark.slow
def test_fit_learns_von_mises_angles():
    """The mean of the first is at the cut; the second depends on the first."""
    random = np.random.default_rng(0)
    first = random.vonmises(3.0, 4.0, 800)
    x = np.stack([first, (first + random.vonmises(0.5, 4.0, 800) + np.pi) % (2 * np.pi) - np.pi], 1)
    entropy = 2 * (np.log(2 * np.pi * np.i0(4.0)) - 4.0 * 0.8635)  # I1(4) / I0(4) = 0.8635
    for name in ("coupling residual", "autoregressive"):
        flow, history = pf.fit(
            BUILDERS[name](), x, key=0, max_epochs=40, batch_size=100, learning_rate=2e-2, progress=False
        )
        assert np.abs(flow.sample(500, key=0)).max() <= PI
        assert abs(history.best_validation + entropy) < 0.35


def test_standardise_is_the_identity_on_angles():
    layers = Elementwise(CircularSpline(4), (2,)), Standardise((2,))
    x = np.random.default_rng(0).vonmises(1.0, 2.0, (100, 2))
    flow, _ = pf.fit(
        pf.Flow(pf.bases.Uniform((2,), -np.pi, np.pi), Chain(layers)), x, key=0, max_epochs=1, progress=False
    )
    outer = flow.bijection.bijections[-1]
    assert bool(outer.is_filled)
    np.testing.assert_array_equal([outer.mean, outer.scale], [np.zeros(2), np.ones(2)])


def test_couplings_of_angles_and_reals():
    """The angle enters the network as cosine and sine, and is not rescaled."""
    circular, mask = np.array([False, True, False]), np.array([True, False, False])
    network = MLP(3, (2, 1), width=8, depth=1, key=jax.random.key(0))
    layer = Coupling("affine", mask, network, circular=circular)
    trained, rest = eqx.partition(layer, pf.trainable(layer))
    layer = eqx.combine(randomised(trained, 0.5), rest)
    z = jnp.array([0.5, 3.0, -1.0])
    np.testing.assert_allclose(layer.forward(z)[0], layer.forward(z.at[1].add(-2 * np.pi))[0], atol=1e-5)
    assert abs(float(layer.forward(z)[0] - layer.forward(z.at[2].add(1.0))[0])) > 1e-3
    np.testing.assert_array_equal(circular_coordinates(Chain([layer, Elementwise(Affine(), (3,))])), circular)
    x = np.random.default_rng(0).uniform(-3, 3, (50, 3)) * [10, 1, 10]
    base = pf.bases.Product([pf.bases.Normal((1,)), pf.bases.Uniform((1,), -np.pi, np.pi), pf.bases.Normal((1,))])
    flow, _ = pf.fit(pf.Flow(base, Chain([layer, Standardise((3,))])), x, key=0, max_epochs=1, progress=False)
    scale = flow.bijection.bijections[-1].scale
    assert scale[1] == 1
    assert scale[[0, 2]].min() > 5


def test_layers_that_treat_angles_as_reals_raise():
    spline = CircularSpline(4)
    raw = MaskedMLP(2, (n_parameters(spline), 2), width=8, depth=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"network: expected a network that receives angles .*PeriodicInputs"):
        MaskedAutoregressive(spline, raw)
    with pytest.raises(ShapeError, match=r"n_features=2, got 1"):
        PeriodicInputs(raw)
    with pytest.raises(ShapeError, match=r"circular: expected .*True for transformed"):
        Coupling(spline, halves(2), raw, circular=np.zeros(2, bool))
    with pytest.raises(ValueError, match=r"whiten: expected False for angles"):
        pf.coupling_flow(2, **SMALL, whiten=True)
    with pytest.raises(ValueError, match=r"mixing: expected 'permutation' for angles"):
        pf.coupling_flow(2, **SMALL, mixing="lu")
    assert is_circular(Chain([spline, spline]))
    assert not is_circular(Chain([spline, Affine()]))


def test_save_and_load_a_flow_of_angles(tmp_path):
    x = np.linspace(-3, 3, 8).reshape(2, 4).astype(np.float32)
    flow = random_flow("autoregressive of four")
    pf.save(tmp_path / "angles.safetensors", flow)
    np.testing.assert_array_equal(pf.load(tmp_path / "angles.safetensors").log_prob(x), flow.log_prob(x))
