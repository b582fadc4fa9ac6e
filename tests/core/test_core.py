"""Core: trailing batches, roles of leaves, composition of layers, bounds for any weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised
from battery.declared import wrong_slopes
from compiling import quickly_compiled

import pushforward as pf
from pushforward.bijections import (
    PLU,
    AbstractScalarBijection,
    Affine,
    Chain,
    Conditional,
    Coupling,
    Elementwise,
    Inverse,
    LeakyReLU,
    RationalQuadraticSpline,
    Repeat,
    SinhArcsinh,
    halves,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import count_parameters, emitted, frozen, shared, trainable
from pushforward.networks import MLP, ResidualMLP
from pushforward.numerics.trailing_batch import trailing_batch


def coupling(transformer, mask=None, seed=0, context=0, network=MLP):
    mask = halves(3) if mask is None else mask
    out = (n_parameters(transformer), int(mask.sum()))
    conditioner = network(int((~mask).sum()), out, width=8, depth=1, context_size=context, key=jax.random.key(seed))
    return Coupling(transformer, mask, conditioner, context_shape=(context,) if context else None)


def random_weights(tree, spread=0.3, seed=0):
    trained, rest = eqx.partition(tree, trainable(tree))
    return eqx.combine(randomised(trained, spread, seed), rest)


# ------------------------------------------------------------------------------------------------ trailing batch


def elementwise(data, weights):
    """Element-wise on arrays (D,) or (D, n); a weight of shape (D,) or a scalar."""
    (a, b), (scale,) = data, weights
    return jnp.sin(a) * scale + b**2, a * b


def loop(fn, count):
    parts = [fn(i) for i in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


@pytest.mark.parametrize("axes", [(0, 0, None), (0, None, None), (None, 0, None), (0, 0, 0), (None, None, 0)])
def test_trailing_batch_equals_a_loop(axes):
    """Values and gradients, for all combinations of batched and unbatched data and weights."""
    random = np.random.default_rng(0)
    values = [jnp.asarray(random.normal(size=(5, 3) if axis == 0 else 3), jnp.float32) for axis in axes[:2]]
    scale = jnp.asarray(random.normal(size=5 if axes[2] == 0 else ()), jnp.float32)
    trailing = trailing_batch(elementwise)

    def total(a, b, scale):
        x, y = jax.vmap(lambda a, b, s: trailing((a, b), (s,)), axes)(a, b, scale)
        return jnp.sum(x**2) + jnp.sum(jnp.cos(y))

    def looped(a, b, scale):
        def at(i):
            pick = [v[i] if axis == 0 else v for v, axis in zip((a, b, scale), axes, strict=True)]
            return elementwise((pick[0], pick[1]), (pick[2],))

        x, y = loop(at, 5)
        return jnp.sum(x**2) + jnp.sum(jnp.cos(y))

    got = jax.value_and_grad(total, (0, 1, 2))(*values, scale)
    expected = jax.value_and_grad(looped, (0, 1, 2))(*values, scale)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_trailing_batch_nests():
    """Two vmaps, vmap of grad, and jit around them."""
    random = np.random.default_rng(1)
    a, b = (jnp.asarray(random.normal(size=(4, 5, 3)), jnp.float32) for _ in range(2))
    trailing, scale = trailing_batch(elementwise), jnp.asarray(0.7)

    def act(fn):
        return lambda a, b: fn((a, b), (scale,))

    twice = jax.jit(jax.vmap(jax.vmap(act(trailing))))(a, b)
    plain = elementwise((a, b), (scale,))
    for got, expected in zip(twice, plain, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)

    def slope(fn):
        return jax.vmap(jax.vmap(jax.grad(lambda a, b: jnp.sum(act(fn)(a, b)[0]))))(a, b)

    np.testing.assert_allclose(slope(trailing), jnp.cos(a) * scale, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("transformer", [Affine(), RationalQuadraticSpline(4)])
def test_gradients_of_one_point_with_many_contexts(transformer):
    """The point is not batched, its parameters are."""
    layer = random_weights(coupling(transformer, context=2))
    z, contexts = jnp.asarray([0.3, -1.0, 0.5]), jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)
    batched = jax.jit(jax.grad(lambda z: jnp.sum(jax.vmap(lambda c: layer.forward(z, c))(contexts) ** 2)))(z)
    one = jax.jit(jax.grad(lambda z, c: jnp.sum(layer.forward(z, c) ** 2)))
    looped = sum(one(z, c) for c in contexts)
    assert batched.shape == z.shape
    np.testing.assert_allclose(batched, looped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transformer", [Affine(), RationalQuadraticSpline(4)])
def test_gradients_of_an_ensemble_match_those_of_its_members(transformer):
    layers = [random_weights(coupling(transformer), seed=seed) for seed in range(3)]
    arrays, static = zip(*(eqx.partition(layer, eqx.is_array) for layer in layers), strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
    points = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)

    def loss(arrays):
        layer = eqx.combine(arrays, static[0])
        return jnp.sum(jax.vmap(layer.forward)(points) ** 2)

    def gradient(arrays):
        trained, rest = eqx.partition(arrays, eqx.is_inexact_array)
        return jax.value_and_grad(lambda t: loss(eqx.combine(t, rest)))(trained)

    single = jax.jit(gradient)
    got, expected = jax.jit(jax.vmap(gradient))(stacked), loop(lambda i: single(arrays[i]), 3)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(jnp.abs(b).max())))


# -------------------------------------------------------------------------------------------------------- roles


class Parts(eqx.Module):
    plain: jax.Array
    constant: jax.Array = frozen()
    transformer: eqx.Module = emitted()
    count: jax.Array

    def __init__(self):
        self.plain, self.constant, self.count = jnp.zeros(2), jnp.zeros(3), jnp.arange(2)
        self.transformer = Transformer()


class Transformer(eqx.Module):
    start: jax.Array
    common: jax.Array = shared()

    def __init__(self):
        self.start, self.common = jnp.zeros(()), jnp.zeros(4)


def test_roles_of_fields_decide_what_is_trained():
    parts = Parts()
    flags = trainable(parts)
    assert (flags.plain, flags.constant, flags.count) == (True, False, False)
    assert (flags.transformer.start, flags.transformer.common) == (False, True)
    assert count_parameters(parts) == 2 + 4
    assert trainable({"a": [parts.plain, 1.0]}) == {"a": [True, False]}


def test_trained_parameters_of_a_flow():
    flow = pf.nsf(dim=3, key=0, n_layers=2, width=4, depth=1)
    trained = eqx.filter(flow, trainable(flow))
    assert jax.tree.leaves(trained.base) == []
    assert jax.tree.leaves(trained.bijection.bijections[1]) == []
    assert jax.tree.leaves(trained.bijection.bijections[0].layers.transformer) == []
    network = 2 * (1 * 4 + 4 + 4 * 23 * 2 + 23 * 2)
    assert count_parameters(flow) == network


# ------------------------------------------------------------------------------------------------ composition


@pytest.mark.parametrize("unroll", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_repeat_matches_chain(unroll):
    """Values, log-determinants and gradients, in both directions; unroll=2 does not divide 3 layers."""
    masks = [halves(4), ~halves(4), halves(4)]
    layers = [random_weights(coupling(RationalQuadraticSpline(4), m), seed=i) for i, m in enumerate(masks)]
    point = jnp.asarray([0.3, -1.0, 2.0, 0.1])
    with quickly_compiled():
        _compare_repeat(layers, point, unroll)
    repeat = Repeat(layers)
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(repeat[index].forward(point), layer.forward(point))


def _compare_repeat(layers, point, unroll):
    for method in ("forward_and_log_det", "inverse_and_log_det"):

        def total(layers, build, method=method):
            value, log_det = getattr(build(layers), method)(point)
            return jnp.sum(jnp.sin(value)) + log_det

        both = eqx.filter_jit(eqx.filter_value_and_grad(total))
        got, expected = both(layers, lambda ls: Repeat(ls, unroll=unroll)), both(layers, Chain)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_forward_is_base_to_data():
    """`Chain([a, b])` applies a first in `forward`, and samples are base samples mapped by `forward`."""
    chain = Chain([Affine(shift=1.0), Affine(scale=2.0)])
    assert float(chain.forward(jnp.asarray(1.0))) == pytest.approx(4.0)
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(shift=100.0), (1,)))
    assert abs(float(flow.sample(100, key=0).mean()) - 100.0) < 1.0


def test_a_conditional_layer_with_zero_network_output_is_the_layer():
    layer = Elementwise(RationalQuadraticSpline(4), (2,))
    conditional = Conditional(layer, MLP(2, (count_parameters(layer),), width=4, depth=1, key=jax.random.key(0)), (2,))
    point = jnp.asarray([0.3, -1.0])
    np.testing.assert_array_equal(conditional.forward(point, jnp.ones(2)), layer.forward(point))


def test_dropout_needs_a_key():
    """Evaluation without a key is deterministic; different keys drop different units."""
    layer = random_weights(coupling(Affine(), network=lambda *a, **k: ResidualMLP(*a, dropout=0.5, **k)))
    stack = Chain([layer, Repeat([layer, layer])])
    point = jnp.asarray([0.3, -1.0, 2.0])
    evaluated = [stack.forward_and_log_det(point)[0] for _ in range(2)]
    np.testing.assert_array_equal(*evaluated)
    dropped = [np.asarray(stack.forward_and_log_det(point, key=jax.random.key(seed))[0]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped[0], dropped[2])
    assert not np.array_equal(dropped[0], evaluated[0])


# ------------------------------------------------------------------------------- bounds, whatever the weights


@pytest.mark.parametrize(
    ("transformer", "bound"),
    [(Affine(), 5.0), (Affine(log_bound=2.0), 2.0), (LeakyReLU(), 5.0)],
    ids=lambda v: repr(v)[:12],
)
@pytest.mark.parametrize("leaf", [-1e30, -200.0, 200.0, 1e30])
def test_log_scales_are_bounded(transformer, bound, leaf):
    """The bounds are symmetric, so that a scale can neither vanish nor diverge."""
    extreme = jax.tree.map(lambda a: jnp.full_like(a, leaf), transformer)
    for method in (extreme.forward_and_log_det, extreme.inverse_and_log_det):
        assert abs(float(method(jnp.asarray(-1.0))[1])) == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("leaf", [-1e4, -200.0, -50.0])
def test_plu_is_never_singular(leaf):
    layer = eqx.tree_at(lambda p: p.diagonal, PLU(3), jnp.full(3, leaf))
    x, log_det = layer.forward_and_log_det(jnp.ones(3))
    assert float(log_det) == pytest.approx(3 * np.log(layer.min_diagonal), rel=1e-5)
    np.testing.assert_allclose(layer.inverse(x), jnp.ones(3), rtol=1e-4)


class FreeScale(AbstractBijection):
    """x = theta z with unconstrained theta: singular at theta = 0."""

    theta: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self):
        self.theta, self.shape, self.context_shape = jnp.ones(()), (), None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z * self.theta, jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(z)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x / self.theta, -jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(x)


def test_couplings_refuse_transformers_that_can_become_singular():
    with pytest.raises(ValueError, match=r"transformer: FreeScale is not strictly increasing .*positive by construc"):
        coupling(FreeScale())
    with pytest.raises(ValueError, match=r"transformer: FreeScale is not strictly increasing"):
        coupling(Chain([FreeScale(), Affine()]))


@pytest.mark.parametrize("power", [1, 2])
def test_the_battery_detects_a_wrong_declaration(power):
    """theta z decreases at theta < 0, theta^2 z never does, but both are singular at theta = 0."""

    class Scale(AbstractScalarBijection):
        theta: jax.Array
        never_singular = True

        def forward_and_log_det(self, z, context=None, *, key=None):
            return z * self.theta**power, power * jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(z)

        def inverse_and_log_det(self, x, context=None, *, key=None):
            return x / self.theta**power, -power * jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(x)

    wrong = wrong_slopes(Scale(jnp.ones(())))
    assert "leaves 1: no finite log-slope" in wrong
    assert any("not increasing" in text for text in wrong) == (power == 1)


class Shrink(AbstractScalarBijection):
    """A valid transformer of a user, who declares nothing: x = exp(tanh a) z."""

    a: jax.Array

    def __init__(self):
        self.a = jnp.zeros(())

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z * jnp.exp(jnp.tanh(self.a)), jnp.tanh(self.a) + jnp.zeros_like(z)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x * jnp.exp(-jnp.tanh(self.a)), -jnp.tanh(self.a) + jnp.zeros_like(x)


class Nested(AbstractBijection):
    """A valid transformer of a user, whose methods call one another and an inner scalar bijection."""

    inner: AbstractBijection
    shape = ()
    context_shape = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        x, _ = self.inner.forward_and_log_det(z)
        return x, -self.inverse_and_log_det(x)[1]

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return self.inner.inverse_and_log_det(x)


class Softmax(AbstractScalarBijection):
    """A valid transformer of a user, who thinks of one number: reductions over all axes, a log-slope of shape ()."""

    w: jax.Array

    def __init__(self):
        self.w = jnp.zeros(3)

    def _log_scale(self):
        return jax.nn.softmax(self.w)[0] - jnp.mean(jax.nn.sigmoid(self.w))

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z * jnp.exp(self._log_scale()), self._log_scale()

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x * jnp.exp(-self._log_scale()), -self._log_scale()


def test_a_class_that_is_not_elementwise_is_mapped_over_coordinates_and_rows():
    flow = pf.Flow(pf.bases.Normal((4,)), Elementwise(Softmax(), (4,)))
    flow = random_weights(flow)
    x = np.linspace(-1, 1, 20).reshape(5, 4)
    one_by_one = [flow.log_prob(row[None])[0] for row in x]
    np.testing.assert_allclose(flow.log_prob(x), one_by_one, rtol=1e-5)
    jacobian = jax.jacfwd(flow.bijection.inverse)(jnp.asarray(x[0]))
    np.testing.assert_allclose(
        flow.bijection.inverse_and_log_det(jnp.asarray(x[0]))[1], np.linalg.slogdet(jacobian)[1], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "transformer",
    [
        Shrink(),
        Softmax(),
        Nested(Affine()),
        Inverse(Nested(RationalQuadraticSpline(4))),
        Chain([Affine(), SinhArcsinh()]),
    ],
    ids=["custom", "softmax", "nested", "nested spline", "chain"],
)
def test_couplings_accept_monotone_transformers(transformer):
    layer = random_weights(coupling(transformer))
    x, log_det = layer.forward_and_log_det(jnp.asarray([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(layer.inverse(x), [0.3, -1.0, 2.0], atol=1e-5)
    assert np.isfinite(log_det)
