"""Gradients that compute activations again: those of the ordinary loop, in memory that does not grow with depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised
from compiling import quickly_compiled
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import (
    PLU,
    ActivationNormalisation,
    Affine,
    Chain,
    Coupling,
    Elementwise,
    Inverse,
    MaskedAutoregressive,
    Permutation,
    RationalQuadraticSpline,
    Repeat,
    halves,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import cast
from pushforward.core.state import initialise
from pushforward.networks import MLP, MaskedMLP, ResidualMLP
from pushforward.persistence import load, save
from pushforward.persistence import tree as tree_room

DIM, CONTEXT, ROWS = 4, 2, 5
VERBS = ("forward_and_log_det", "inverse_and_log_det")
# Relative to the largest number of a gradient: the layers here have condition numbers of a few dozen.
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def coupling(index, *, dim=DIM, law=None, width=8, depth=1, context=0, dropout=0.0):
    law, mask = law or Affine(), halves(dim) if index % 2 else ~halves(dim)
    options = {"width": width, "depth": depth, "context_size": context, "key": jax.random.key(index)}
    sizes = int((~mask).sum()), (n_parameters(law), int(mask.sum()))
    network = ResidualMLP(*sizes, dropout=dropout, **options) if dropout else MLP(*sizes, **options)
    return Coupling(law, mask, network, context_shape=(context,) if context else None)


def autoregressive(index):
    return MaskedAutoregressive(Affine(), MaskedMLP(DIM, 2, width=8, depth=1, key=jax.random.key(index)))


def chained(index, **options):
    """A chain within a chain, with parts that take no context and leaves that are no floats."""
    plu, turn = PLU(DIM, key=jax.random.key(index)), Permutation(np.roll(np.arange(DIM), 1 + index % 2))
    return Chain([Inverse(plu), Chain([coupling(index, **options), turn])])


STACKS = {
    "coupling": coupling,
    "spline": lambda index: coupling(index, law=RationalQuadraticSpline(4)),
    "PLU + coupling": chained,
    "context": lambda index: chained(index, context=CONTEXT),
    "keys": lambda index: chained(index, context=CONTEXT, dropout=0.4),
    "autoregressive": autoregressive,
}


def stack(kind, n_layers=3, **options):
    layers = [moved(STACKS[kind](index), index) for index in range(n_layers)]
    return Repeat(layers, **options)


def moved(tree, seed, spread=0.15):
    trained, rest = eqx.partition(tree, pf.trainable(tree))
    return eqx.combine(randomised(trained, spread, seed), rest)


def with_recompute(repeat):
    return Repeat([repeat.layer(i) for i in range(repeat.n_layers)], unroll=repeat.unroll, recompute=True)


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


def summed(value, log_det):
    """A number that depends on every entry, on each in another way."""
    weights = jnp.arange(1.0, 1 + log_det.size).reshape(log_det.shape)
    return jnp.sum(jnp.sin(value) * jnp.expand_dims(weights, -1)) + jnp.sum(jnp.cos(weights) * log_det)


def close(got, expected, tolerance=None):
    tolerance = tolerance or TOLERANCE[str(jnp.result_type(float))]
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0))))


def result_and_gradients(repeat, verb, x, context, keys, mapped):
    """Value and log-determinant; gradients of the weights, of x and of the context. `mapped` says what has rows."""
    arrays, static = eqx.partition(repeat, eqx.is_inexact_array)
    axes = tuple(0 if name in mapped else None for name in ("x", "context", "keys"))

    def total(arrays, x, context):
        def one(x, context, key):
            return getattr(eqx.combine(arrays, static), verb)(x, context, key=key)

        out = (jax.vmap(one, axes) if mapped else one)(x, context, keys)
        return summed(*out), out

    arguments = (0, 1) if context is None else (0, 1, 2)
    (_, out), gradients = jax.jit(jax.value_and_grad(total, arguments, has_aux=True))(arrays, x, context)
    return out, gradients


@pytest.mark.parametrize(
    ("kind", "verb", "unroll", "mapped"),
    [
        ("coupling", "inverse_and_log_det", 3, "x"),
        ("PLU + coupling", "inverse_and_log_det", 2, "x"),
        ("keys", "inverse_and_log_det", 1, "x context keys"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("spline", "inverse_and_log_det", 1, "x"),
                ("context", "forward_and_log_det", 1, "x"),
                ("context", "forward_and_log_det", 1, "context"),
                ("keys", "forward_and_log_det", 1, "x"),
                ("keys", "inverse_and_log_det", 1, ""),
                ("autoregressive", "forward_and_log_det", 1, "x"),
            ]
        ),
    ],
)
@pytest.mark.as_compiled
def test_results_are_the_same_bits_and_gradients_the_same_to_rounding(kind, verb, unroll, mapped):
    """Of weights, points and contexts; one sample, and a batch in which contexts and keys are shared or a row's own."""
    repeat = stack(kind, unroll=unroll)
    x = drawn(*([ROWS] if "x" in mapped else []), DIM)
    context = drawn(*([ROWS] if "context" in mapped else []), CONTEXT, seed=1) if repeat.context_shape else None
    keys = None
    if kind == "keys":
        keys = jax.random.split(jax.random.key(3), ROWS) if "keys" in mapped else jax.random.key(3)
    with quickly_compiled():
        out, gradients = result_and_gradients(repeat, verb, x, context, keys, mapped)
        again, more = result_and_gradients(with_recompute(repeat), verb, x, context, keys, mapped)
    for a, b in zip(again, out, strict=True):
        np.testing.assert_array_equal(a, b)
    close(more, gradients)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients)[-2:])


def test_in_double_precision_nine_digits_agree():
    with jax.enable_x64(True), quickly_compiled():
        repeat, x = cast(stack("PLU + coupling"), jnp.float64), drawn(ROWS, DIM)
        pair = [result_and_gradients(r, VERBS[1], x, None, None, "x") for r in (with_recompute(repeat), repeat)]
        np.testing.assert_array_equal(pair[0][0][0], pair[1][0][0])
        close(pair[0][1], pair[1][1], 1e-9)


@pytest.fixture(scope="module")
def pair():
    """A function of (weights, x, context), one sample, with and without recomputation, and its weights."""
    repeat = moved(stack("coupling", 2), 9)
    functions = []
    for one in (with_recompute(repeat), repeat):
        arrays, static = eqx.partition(one, eqx.is_inexact_array)
        leaves, structure = jax.tree.flatten(arrays)
        functions.append(
            lambda leaves, x, structure=structure, static=static: eqx.combine(
                jax.tree.unflatten(structure, leaves), static
            ).inverse_and_log_det(x)
        )
    return functions, leaves


def both(pair, program, *given):
    functions, arrays = pair
    with quickly_compiled():
        got, expected = (jax.jit(program(function))(arrays, *given) for function in functions)
    close(got, expected)


def test_batches_of_batches(pair):
    def program(function):
        def total(arrays, x):
            inner = jax.vmap(function, (None, 0))
            return summed(*jax.vmap(lambda x: jax.vmap(inner, (None, 0))(arrays, x), 2)(x))

        return jax.grad(total, (0, 1))

    both(pair, program, drawn(2, 3, 2, DIM))


def test_a_gradient_for_each_sample(pair):
    both(pair, lambda f: jax.vmap(jax.grad(lambda *given: summed(*f(*given)), (0, 1)), (None, 0)), drawn(ROWS, DIM))


def test_rows_of_a_jacobian_and_its_diagonal(pair):
    both(pair, lambda f: lambda arrays, x: jax.vmap(jax.jacrev(lambda x: f(arrays, x)))(x), drawn(ROWS, DIM))


def test_second_derivatives_by_reverse_mode_twice(pair):
    def program(function):
        def total(arrays, x):
            return summed(*jax.vmap(function, (None, 0))(arrays, x))

        return lambda arrays, x: jax.jacrev(jax.grad(total, 1), 1)(arrays, x)

    both(pair, program, drawn(2, DIM))


def test_an_ensemble_of_weights(pair):
    """Weights mapped inside the gradient, where the rule steps back, and outside."""
    functions, arrays = pair
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.9 * leaf, 1.1 * leaf]), arrays)

    def inside(function):
        mapped = jax.vmap(jax.vmap(function, (None, 0)), (0, None))
        return jax.grad(lambda several, x: summed(*mapped(several, x)), (0, 1))

    def outside(function):
        mapped = jax.vmap(function, (None, 0))
        return jax.vmap(jax.grad(lambda arrays, x: summed(*mapped(arrays, x)), (0, 1)), (0, None))

    both((functions, several), inside, drawn(ROWS, DIM))
    both((functions, several), outside, drawn(ROWS, DIM))


def test_steps_of_training_in_a_scan_and_a_gradient_through_them(pair):
    def program(function):
        def loss(arrays, x):
            value, log_det = jax.jit(jax.vmap(function, (None, 0)))(arrays, x)
            return jnp.mean(0.5 * jnp.sum(value**2, 1) - log_det)

        def train(arrays, xs):
            def step(arrays, x):
                value, gradient = jax.value_and_grad(loss)(arrays, x)
                return jax.tree.map(lambda a, g: a - 0.01 * g, arrays, gradient), value

            return jax.lax.scan(step, arrays, xs)

        def summed_over_steps(arrays, xs):
            return jnp.sum(jax.lax.scan(lambda total, x: (total + loss(arrays, x), None), jnp.zeros(()), xs)[0])

        return lambda arrays, xs: (train(arrays, xs), jax.grad(summed_over_steps)(arrays, xs))

    both(pair, program, drawn(3, ROWS, DIM))


def test_without_jit_and_without_a_gradient(pair):
    functions, arrays = pair
    x = drawn(ROWS, DIM)
    for a, b in zip(*(jax.vmap(f, (None, 0))(arrays, x) for f in functions), strict=True):
        np.testing.assert_array_equal(a, b)
    with jax.disable_jit():
        close(functions[0](arrays, x[0]), functions[1](arrays, x[0]))


def test_forward_mode_names_the_option_and_forward_over_reverse_is_right(pair):
    functions, arrays = pair
    program = jax.jvp, (lambda x: functions[0](arrays, x)), (drawn(DIM),), (drawn(DIM),)
    for jvp in (program[0], jax.jit(program[0], static_argnums=0)):
        with pytest.raises(TypeError, match="recompute=False"):
            jvp(*program[1:])

    def along(function):
        def total(arrays, x):
            return summed(*jax.vmap(function, (None, 0))(arrays, x))

        return lambda arrays, x: jax.jvp(lambda x: jax.grad(total, (0, 1))(arrays, x), (x,), (jnp.cos(x),))[1]

    both(pair, along, drawn(2, DIM))


# ------------------------------------------------------------------------------------------------------------- memory


def temporary_bytes(n_layers, rows, recompute, dim=16, width=32):
    """What the compiled gradient of the mean score needs besides its arguments and results."""
    repeat = Repeat([coupling(i, dim=dim, width=width, depth=2) for i in range(n_layers)], recompute=recompute)
    arrays, static = eqx.partition(repeat, eqx.is_inexact_array)

    def loss(arrays, x):
        z, log_det = jax.vmap(eqx.combine(arrays, static).inverse_and_log_det)(x)
        return jnp.mean(0.5 * jnp.sum(z**2, 1) - log_det)

    compiled = jax.jit(jax.value_and_grad(loss)).lower(
        arrays, jax.ShapeDtypeStruct((rows, dim), jnp.result_type(float))
    )
    return compiled.compile().memory_analysis().temp_size_in_bytes


def test_memory_is_flat_in_depth():
    few, many = (temporary_bytes(n, 2048, recompute=True) for n in (4, 16))
    assert many < 1.2 * few, (few, many)
    few, many = (temporary_bytes(n, 2048, recompute=False) for n in (4, 16))
    assert many > 2.5 * few, (few, many)


def test_no_gradient_of_the_weights_for_each_sample():
    """64 rows more cost their activations. One gradient of one layer's 17,000 weights a row would be 68 kB a row."""
    few, many = (temporary_bytes(3, rows, recompute=True, width=128) for rows in (64, 128))
    activations = 4 * (12 * 128 + 40 * 16)
    assert (many - few) / 64 < 2 * activations < 4 * 128 * 128 / 2, (few, many)


# ------------------------------------------------------------------------------------------------------ as an option


class Counting(AbstractBijection):
    """Adds how often it was started from data."""

    count: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self):
        self.count, self.shape, self.context_shape = jnp.zeros(()), (2,), None

    def initialised(self, x, context=None):
        return eqx.tree_at(lambda layer: layer.count, self, self.count + 1)

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.count, jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.count, jnp.zeros((), x.dtype)


def test_starting_from_data_keeps_the_option():
    started = initialise(Repeat([Counting(), Counting()], unroll=2, recompute=True), np.ones((3, 2)))
    assert started.recompute
    assert started.unroll == 2
    assert started.layers.count.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("recompute", [True, False])
def test_a_file_keeps_the_option(recompute, tmp_path):
    layers = [Elementwise(Affine(shift=1.0), (2,))] * 2
    save(tmp_path / "flow", pf.Flow(pf.bases.Normal((2,)), Repeat(layers, recompute=recompute)))
    assert load(tmp_path / "flow").bijection.recompute is recompute


def test_a_file_from_before_the_option_is_read_without_it():
    flow = pf.Flow(pf.bases.Normal((1, 1, 2)), Repeat([ActivationNormalisation((1, 1, 2))] * 2))
    config, tensors = tree_room.encode(flow)
    del config["fields"]["bijection"]["fields"]["recompute"]
    assert tree_room.decode(config, tree_room.registry(), tensors).bijection.recompute is False
    del config["fields"]["bijection"]["fields"]["unroll"]
    with pytest.raises(ValueError, match="unroll"):
        tree_room.decode(config, tree_room.registry(), tensors)


@pytest.mark.parametrize("recipe", quick_few(("glow", "emerging_glow", "periodic_glow", "real_nvp_image"), "glow"))
def test_recipes_hand_the_option_on(recipe):
    """Every stack of the flow takes it, and the gradient of its score stays the same."""
    with jax.enable_x64(True):
        x = drawn(3, 4, 4, 2)
        gradients = []
        for recompute in (False, True):
            flow = cast(getattr(pf, recipe)((4, 4, 2), key=0, n_scales=1, n_layers=2, width=4, recompute=recompute),
                        jnp.float64)  # fmt: skip
            flow = moved(flow, 0, 0.05)
            stacks = jax.tree.leaves(flow, is_leaf=lambda node: isinstance(node, Repeat))
            assert {node.recompute for node in stacks if isinstance(node, Repeat)} == {recompute}
            trained, rest = eqx.partition(flow, pf.trainable(flow))
            score = lambda trained, rest=rest: jnp.mean(eqx.combine(trained, rest).log_prob(x))  # noqa: E731
            gradients.append(jax.tree.leaves(jax.jit(jax.grad(score))(trained)))
    assert any(np.abs(leaf).max() > 0 for leaf in gradients[0])
    for kept, recomputed in zip(*gradients, strict=True):
        np.testing.assert_allclose(recomputed, kept, rtol=1e-8, atol=1e-10)
