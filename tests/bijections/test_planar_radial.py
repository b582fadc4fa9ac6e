"""Planar, radial and Sylvester layers at points where other implementations fail."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import Cayley, Dense, Householder, Permutation, Planar, Radial, Sylvester
from pushforward.bijections.planar_radial.nonlinearity import NONLINEARITIES, bounded_scale

KEY = jax.random.key(0)


def planar(u, w, bias=0.0, nonlinearity="tanh"):
    layer = Planar(len(u), nonlinearity=nonlinearity, key=KEY)
    leaves = tuple(jnp.asarray(value, jnp.result_type(float)) for value in (u, w, bias))
    return eqx.tree_at(lambda p: (p.u, p.w, p.bias), layer, leaves)


def radial(centre, radius, scale):
    layer = Radial(len(centre), key=KEY)
    leaves = tuple(jnp.asarray(value, jnp.result_type(float)) for value in (centre, radius, scale))
    return eqx.tree_at(lambda r: (r.centre, r.radius, r.raw_scale), layer, leaves)


@pytest.mark.parametrize("x64", [False, True])
def test_layer_is_invertible_for_all_weights(x64):
    """1 + h' m >= 1e-3 for 100,000 pairs of directions of lengths 1e-8 to 1e8, as the layer computes it."""
    random = np.random.default_rng(0)
    u, w = (random.standard_normal((100_000, 4)) * 10 ** random.uniform(-8, 8, (100_000, 1)) for _ in range(2))
    with jax.enable_x64(x64):
        scale, factor = bounded_scale(jnp.sum(jnp.asarray(u) * jnp.asarray(w), axis=1))
        a = jnp.asarray(random.standard_normal(100_000)) * 3
        log_derivative = np.asarray(jax.vmap(NONLINEARITIES["tanh"].log_derivative)(a, scale))
        assert (1 + np.asarray(scale) >= 1e-3).all()  # h' <= 1
        assert (log_derivative >= np.log(1e-3)).all()
        assert ((np.asarray(factor) > 0) & (np.asarray(factor) <= 1)).all()

        def value(u, w, a):
            scale, factor = bounded_scale(u @ w)
            return NONLINEARITIES["tanh"].log_derivative(a, scale) + factor * jnp.sum(u)

        for slope in jax.vmap(jax.grad(value, (0, 1, 2)))(jnp.asarray(u), jnp.asarray(w), a):
            assert np.isfinite(slope).all()


@pytest.mark.parametrize("nonlinearity", ["tanh", "leaky_relu"])
def test_planar_layer_with_zero_w_is_a_translation(nonlinearity):
    layer = planar([1.0, -2.0], [0.0, 0.0], 0.7, nonlinearity)
    x, log_det = layer.forward_and_log_det(jnp.array([3.0, 4.0]))
    shift = float(NONLINEARITIES[nonlinearity].value(jnp.array(0.7)))
    np.testing.assert_allclose(x, [3.0 + shift, 4.0 - 2 * shift], rtol=1e-6)
    assert log_det == 0.0
    gradient = jax.grad(lambda p: p.forward_and_log_det(jnp.array([3.0, 4.0]))[1])(layer)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_bounded_scale_is_smooth_and_near_the_identity():
    s = jnp.array([-1e30, -1e8, -3.0, -1e-20, 0.0, 1e-20, 5.0, 1e30])
    scale, factor = bounded_scale(s)
    np.testing.assert_allclose(scale[4:], s[4:], rtol=1e-7)
    assert (np.asarray(scale) > -1 + 1e-3).all()
    assert (np.diff(scale) >= 0).all()
    np.testing.assert_allclose(np.asarray(factor[2:] * s[2:]), scale[2:], rtol=1e-6)
    slopes = jax.vmap(jax.grad(lambda s: bounded_scale(s)[0]))(s)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[3:6], 1.0)


def test_planar_roots_where_brackets_collapse():
    """The points at which another library's root finder failed: a huge bias, a scale of nearly zero."""
    products, biases = (-1.0, -1e-20, 0.0, 1e-20, 17.0, -1e6), (-1e8, -3.0, 0.0, 1e8)
    with jax.enable_x64(True):
        forward, inverse = (
            eqx.filter_jit(method) for method in (Planar.forward_and_log_det, Planar.inverse_and_log_det)
        )
        for product, bias in itertools.product(products, biases):
            layer = planar([product, 0.3], [1.0, 0.0], bias)
            for x in ([0.0, 0.0], [1.0, -2.0], [-bias, 1.0], [1e8, 0.0]):
                x = jnp.asarray(x)
                z, log_det = inverse(layer, x)
                x_back, forward_log_det = forward(layer, z)
                scale = 1 + abs(product) + float(jnp.abs(x).max())
                assert float(jnp.abs(x_back - x).max()) <= 1e-12 * scale
                # the slope at the root is as accurate as a, which a huge bias rounds
                assert abs(float(forward_log_det + log_det)) <= 1e-9 + 1e3 * 2.3e-16 * abs(bias)


@pytest.mark.parametrize("dim", quick_few((1, 2, 50), 2))
def test_radial_inverse_is_exact(dim):
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        z = jnp.asarray(random.standard_normal((200, dim)) * 10 ** random.uniform(-6, 6, (200, 1)))
        for radius, scale in itertools.product((-20.0, 0.0, 1e3), (-1e9, -0.9, 0.0, 0.3, 1e4)):
            layer = radial(random.standard_normal(dim), radius, scale)
            x, log_det = jax.vmap(layer.forward_and_log_det)(z)
            z_back, inverse_log_det = jax.vmap(layer.inverse_and_log_det)(x)
            distance = np.linalg.norm(np.asarray(z - layer.centre[None]), axis=1) + np.linalg.norm(layer.centre)
            # a scale of -0.998 contracts by a factor of 500, which the inverse multiplies
            assert (np.abs(np.asarray(z_back - z)).max(1) <= 1e-9 * distance).all(), (radius, scale)
            np.testing.assert_allclose(log_det, -inverse_log_det, rtol=1e-9, atol=1e-9 * dim)


def test_radial_layer_at_its_centre():
    layer = radial([1.0, 2.0], 0.0, 3.0)
    centre = jnp.array([1.0, 2.0])
    for method, sign in ((layer.forward_and_log_det, 1), (layer.inverse_and_log_det, -1)):
        value, log_det = method(centre)
        np.testing.assert_array_equal(value, centre)
        np.testing.assert_allclose(log_det, sign * 2 * np.log(4.0), rtol=1e-6)
        np.testing.assert_allclose(
            jax.jacrev(lambda v, method=method: method(v)[0])(centre), np.eye(2) * 4.0**sign, rtol=1e-6
        )


def test_sylvester_layer_of_one_unit_is_a_planar_layer():
    layer = Sylvester(Permutation([0]), key=KEY)
    layer = eqx.tree_at(
        lambda s: (s.outer, s.inner, s.bias), layer, (jnp.array([[-2.0]]), jnp.array([[1.5]]), jnp.array([0.4]))
    )
    other = planar([-2.0], [1.5], 0.4)
    for x in (-3.0, 0.0, 2.0):
        for method in ("forward_and_log_det", "inverse_and_log_det"):
            for one, two in zip(*(getattr(part, method)(jnp.array([x])) for part in (layer, other)), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_sylvester_units_act_in_the_first_columns_of_the_rotation():
    rotation = Householder(4, 2, key=KEY)
    layer = Sylvester(rotation, 2, key=jax.random.key(1))
    columns = np.stack([rotation.forward(jnp.eye(4)[i]) for i in range(2)], axis=1)
    z = jax.random.normal(KEY, (4,))
    shift = np.asarray(layer.forward(z) - z)
    np.testing.assert_allclose(shift, columns @ (columns.T @ shift), atol=1e-6)
    assert np.abs(shift).max() > 1e-3


@pytest.mark.parametrize(
    "rotation", [Dense(2), pf.bijections.Chain([Cayley(2), Dense(2)])], ids=["alone", "in a chain"]
)
def test_sylvester_layer_rejects_other_matrices(rotation):
    with pytest.raises(ValueError, match="rotation: expected Householder, Cayley or Permutation"):
        Sylvester(rotation, key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_few(("planar_flow", "radial_flow", "sylvester_flow"), "planar_flow"))
def test_recipe_can_be_fitted_and_sampled(name):
    random = np.random.default_rng(0)
    x = random.standard_normal((600, 2))
    x[:, 1] += 0.8 * x[:, 0] ** 2
    flow, history = pf.fit(
        getattr(pf, name)(2, n_layers=4, key=0),
        x,
        key=0,
        max_epochs=30,
        learning_rate=0.01,
        start="given",
        progress=False,
    )
    assert history.best_validation > history.start + 0.05
    samples, scores = flow.sample_and_log_prob(50, key=1)
    np.testing.assert_allclose(flow.log_prob(samples), scores, atol=2e-3)
