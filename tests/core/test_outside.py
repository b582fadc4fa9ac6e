"""Outside the support log_prob is -inf, for those samples only; a NaN from a faulty layer still raises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    Affine,
    Chain,
    ColumnMaps,
    Conditional,
    Elementwise,
    Exp,
    Inverse,
    LeakyReLU,
    PixelSigmoid,
    Repeat,
    Sigmoid,
    Softplus,
    Standardise,
    Tanh,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import count_parameters
from pushforward.errors import NumericError

SHIFTED = Standardise((1,)).filled(np.array([0.5]), np.array([2.0]))


def chain(*layers):
    return Chain([layer if layer.shape else Elementwise(layer, (1,)) for layer in layers])


def normal(*layers):
    return pf.Flow(pf.bases.Normal((1,)), chain(*layers))


# name: a flow, points outside its support, points inside
SUPPORTS = {
    "Exp": (lambda: normal(Exp()), (0.0, -1.0, -1e30), (1.0, 2.0)),
    "Softplus": (lambda: normal(Softplus()), (0.0, -1.0), (0.1, 3.0)),
    "Sigmoid": (lambda: normal(Sigmoid()), (0.0, 1.0, 1.5, -3.0), (0.2, 0.9)),
    "Tanh": (lambda: normal(Tanh()), (1.0, -1.0, 1.5), (0.0, -0.9)),
    "Sigmoid twice": (lambda: normal(Sigmoid(), Sigmoid()), (0.4, 0.74, 2.0), (0.6, 0.7)),
    "Exp twice": (lambda: normal(Exp(), Exp()), (1.0, 0.5, -2.0), (1.5, 9.0)),
    "Tanh of Exp": (lambda: normal(Exp(), Tanh()), (0.0, -0.5, 1.0), (0.1, 0.8)),
    "standardised Exp": (lambda: normal(Exp(), SHIFTED), (0.5, -1.0), (0.6, 3.0)),
    "standardised between": (lambda: normal(Sigmoid(), SHIFTED, LeakyReLU(), Exp()), (1.0, 15.0, -1.0), (2.0, 9.0)),
    "a logarithm over a bounded base": (
        lambda: pf.Flow(pf.bases.Uniform((1,), 1.0, 2.0), chain(Inverse(Exp()))), (-0.1, 0.8), (0.1, 0.6)),
    "a logit over a truncated base": (
        lambda: pf.Flow(pf.bases.TruncatedNormal((1,), 0.5, 1.0), chain(Inverse(Sigmoid()))), (-0.1, -9.0), (0.1, 3.0)),
    "columns": (lambda: normal(ColumnMaps(("positive",), lower=2.0)), (2.0, -3.0), (2.5, 4.0)),
    "pixels": (lambda: normal(PixelSigmoid((1,), levels=4)), (-1.0, 5.0), (0.0, 4.0)),
    "mixture": (
        lambda: pf.bases.Mixture([normal(Exp()), pf.bases.Uniform((1,), 0.5, 1.0)]), (0.0, -1.0), (0.7, 3.0)),
    "rounded": (lambda: pf.Discretised(normal(Exp()), [1.0]), (-1.0, -5.0), (1.0, 4.0)),
    "repeated": (
        lambda: pf.Flow(pf.bases.Normal((1,)), Repeat([chain(Sigmoid(), Affine(scale=1.5)) for _ in range(2)])),
        (0.0, 0.7, 1.5), (1.0, 1.1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SUPPORTS)
def test_log_prob_is_minus_infinity_outside_the_support_only(name):
    build, outside, inside = SUPPORTS[name]
    flow = build()
    x = np.array([*inside, *outside, *inside])[:, None]
    expected = np.isin(x[:, 0], outside)
    scores = np.asarray(flow.log_prob(x))
    np.testing.assert_array_equal(np.isneginf(scores), expected)
    assert np.isfinite(scores[~expected]).all()
    np.testing.assert_allclose(scores[: len(inside)], flow.log_prob(x[: len(inside)]), rtol=1e-6)
    traced = np.asarray(jax.jit(lambda x: flow.log_prob(x))(x))
    np.testing.assert_allclose(traced, scores, rtol=1e-4, atol=1e-5)
    assert np.isneginf(float(flow.log_prob(np.array([outside[0]]))))


def test_last_point_inside_the_support_in_float64():
    with jax.enable_x64(True):
        flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Sigmoid(), (1,)))
        flow = eqx.tree_at(lambda f: f.base.scale, flow, jnp.ones(1, np.float64))
        last = np.nextafter(1.0, 0.0)
        scores = np.asarray(flow.log_prob(np.array([[last], [1.0], [5e-324], [0.5]])))
    assert np.isfinite(scores[[0, 3]]).all()
    assert np.isneginf(scores[1])
    assert not np.isnan(scores[2])


def test_outside_the_support_of_a_conditional_flow():
    layer = Elementwise(Affine(), (1,))
    network = pf.networks.MLP(2, (count_parameters(layer),), width=4, depth=1, key=jax.random.key(0))
    flow = pf.Flow(pf.bases.Normal((1,)), Chain([Conditional(layer, network, (2,)), Elementwise(Exp(), (1,))]))
    context = np.arange(6.0).reshape(3, 2)
    scores = np.asarray(flow.log_prob(np.array([[1.0], [-1.0], [2.0]]), context))
    np.testing.assert_array_equal(np.isneginf(scores), [False, True, False])
    np.testing.assert_array_equal(np.isneginf(flow.given(context[0]).log_prob([[1.0], [-1.0]])), [False, True])


def test_gradients_inside_do_not_depend_on_samples_outside():
    flow = normal(Exp())
    gradient = jax.grad(lambda x: jnp.where(x[:, 0] > 0, flow.log_prob(x), 0.0).sum())
    both, alone = gradient(jnp.array([[2.0], [-1.0]])), gradient(jnp.array([[2.0]]))
    np.testing.assert_allclose(both[:1], alone, rtol=1e-6)
    assert np.isfinite(both).all()


class Root(AbstractBijection):
    """A faulty layer: z = sqrt(x) is NaN below zero, but the layer declares no support."""

    shape: tuple[int, ...] = eqx.field(static=True, default=(1,))
    context_shape: None = eqx.field(static=True, default=None)

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z**2, jnp.sum(jnp.log(2 * jnp.abs(z)))

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return jnp.sqrt(x), -jnp.sum(jnp.log(2 * jnp.sqrt(x)))


OUTER = {
    "alone": (), "under Exp": (Exp(),), "under Sigmoid": (Sigmoid(),), "under Tanh": (Tanh(),),
    "under Softplus": (Softplus(),), "under columns": (ColumnMaps(("bounded",)),),
}  # fmt: skip


@pytest.mark.parametrize("inner", OUTER)
def test_nan_from_a_faulty_layer_raises(inner):
    """The faulty layer comes first in the inverse, so layers with a support receive its NaN."""
    flow = pf.Flow(pf.bases.Normal((1,)), Chain([*chain(*OUTER[inner], Affine()).bijections, Root()]))
    x = np.array([[0.2], [-0.2], [0.3]])
    with pytest.raises(NumericError, match=r"log_prob is NaN for 1 of 3 finite rows, first at row 1"):
        flow.log_prob(x)
    np.testing.assert_array_equal(np.isnan(jax.jit(lambda x: flow.log_prob(x))(x)), [False, True, False])


def test_base_samples_outside_the_domain_of_the_bijection_raise():
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Inverse(Exp()), (1,)))
    with pytest.raises(NumericError, match="samples hold NaN"):
        flow.sample(50, key=0)
