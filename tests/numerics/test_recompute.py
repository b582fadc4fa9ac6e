"""Recomputed activations: gradients match those of the ordinary loop, in memory that does not grow with depth."""

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
from pushforward.core.state import initialise_layers
from pushforward.networks import MLP, MaskedMLP, ResidualMLP
from pushforward.persistence import load, save, tree

DIM, CONTEXT, ROWS = 4, 2, 5
METHODS = ("forward_and_log_det", "inverse_and_log_det")
# Relative to the largest number of a gradient: the layers here have condition numbers of a few dozen.
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def coupling(index, *, dim=DIM, transformer=None, width=8, depth=1, context=0, dropout=0.0):
    transformer, mask = transformer or Affine(), halves(dim) if index % 2 else ~halves(dim)
    options = {"width": width, "depth": depth, "context_size": context, "key": jax.random.key(index)}
    sizes = int((~mask).sum()), (n_parameters(transformer), int(mask.sum()))
    network = ResidualMLP(*sizes, dropout=dropout, **options) if dropout else MLP(*sizes, **options)
    return Coupling(transformer, mask, network, context_shape=(context,) if context else None)


def autoregressive(index):
    return MaskedAutoregressive(Affine(), MaskedMLP(DIM, (2, DIM), width=8, depth=1, key=jax.random.key(index)))


def chained(index, **options):
    """Nested chains, with unconditional parts and leaves that are not floats."""
    plu, permutation = PLU(DIM, key=jax.random.key(index)), Permutation(np.roll(np.arange(DIM), 1 + index % 2))
    return Chain([Inverse(plu), Chain([coupling(index, **options), permutation])])


STACKS = {
    "coupling": coupling,
    "spline": lambda index: coupling(index, transformer=RationalQuadraticSpline(4)),
    "PLU + coupling": chained,
    "context": lambda index: chained(index, context=CONTEXT),
    "keys": lambda index: chained(index, context=CONTEXT, dropout=0.4),
    "autoregressive": autoregressive,
}


def stack(kind, n_layers=3, **options):
    layers = [perturbed(STACKS[kind](index), index) for index in range(n_layers)]
    return Repeat(layers, **options)


def perturbed(tree, seed, spread=0.15):
    trained, rest = eqx.partition(tree, pf.trainable(tree))
    return eqx.combine(randomised(trained, spread, seed), rest)


def with_recompute(repeat):
    return Repeat(list(repeat), unroll=repeat.unroll, recompute=True)


def normals(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


def scalar_of(value, log_det):
    """A scalar that depends on every entry in a different way."""
    weights = jnp.arange(1.0, 1 + log_det.size).reshape(log_det.shape)
    return jnp.sum(jnp.sin(value) * jnp.expand_dims(weights, -1)) + jnp.sum(jnp.cos(weights) * log_det)


def close(got, expected, tolerance=None):
    tolerance = tolerance or TOLERANCE[str(jnp.result_type(float))]
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0))))


def result_and_gradients(repeat, method, x, context, keys, batched):
    """Value and log-determinant; gradients of weights, x and context. `batched` names the inputs with a batch axis."""
    arrays, static = eqx.partition(repeat, eqx.is_inexact_array)
    axes = tuple(0 if name in batched else None for name in ("x", "context", "keys"))

    def total(arrays, x, context):
        def one(x, context, key):
            return getattr(eqx.combine(arrays, static), method)(x, context, key=key)

        out = (jax.vmap(one, axes) if batched else one)(x, context, keys)
        return scalar_of(*out), out

    arguments = (0, 1) if context is None else (0, 1, 2)
    (_, out), gradients = jax.jit(jax.value_and_grad(total, arguments, has_aux=True))(arrays, x, context)
    return out, gradients


@pytest.mark.parametrize(
    ("kind", "method", "unroll", "batched"),
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
def test_values_are_bitwise_equal_and_gradients_equal_to_rounding(kind, method, unroll, batched):
    """Gradients of weights, points and contexts; one sample, or a batch with shared or separate contexts and keys."""
    repeat = stack(kind, unroll=unroll)
    x = normals(*([ROWS] if "x" in batched else []), DIM)
    context = normals(*([ROWS] if "context" in batched else []), CONTEXT, seed=1) if repeat.context_shape else None
    keys = None
    if kind == "keys":
        keys = jax.random.split(jax.random.key(3), ROWS) if "keys" in batched else jax.random.key(3)
    with quickly_compiled():
        out, gradients = result_and_gradients(repeat, method, x, context, keys, batched)
        recomputed_out, recomputed = result_and_gradients(with_recompute(repeat), method, x, context, keys, batched)
    for a, b in zip(recomputed_out, out, strict=True):
        np.testing.assert_array_equal(a, b)
    close(recomputed, gradients)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients)[-2:])


def test_gradients_agree_to_nine_digits_in_float64():
    with jax.enable_x64(True), quickly_compiled():
        repeat, x = cast(stack("PLU + coupling"), jnp.float64), normals(ROWS, DIM)
        pair = [result_and_gradients(r, METHODS[1], x, None, None, "x") for r in (with_recompute(repeat), repeat)]
        np.testing.assert_array_equal(pair[0][0][0], pair[1][0][0])
        close(pair[0][1], pair[1][1], 1e-9)


@pytest.fixture(scope="module")
def pair():
    """A function of (weights, x) with and without recomputation, and its weights."""
    repeat = perturbed(stack("coupling", 2), 9)
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


def compare(pair, program, *inputs):
    functions, arrays = pair
    with quickly_compiled():
        got, expected = (jax.jit(program(function))(arrays, *inputs) for function in functions)
    close(got, expected)


@pytest.mark.slow
def test_gradients_of_nested_batches(pair):
    def program(function):
        def total(arrays, x):
            inner = jax.vmap(function, (None, 0))
            return scalar_of(*jax.vmap(lambda x: jax.vmap(inner, (None, 0))(arrays, x), 2)(x))

        return jax.grad(total, (0, 1))

    compare(pair, program, normals(2, 3, 2, DIM))


def test_per_sample_gradients(pair):
    compare(
        pair,
        lambda f: jax.vmap(jax.grad(lambda *inputs: scalar_of(*f(*inputs)), (0, 1)), (None, 0)),
        normals(ROWS, DIM),
    )


def test_jacobians(pair):
    compare(pair, lambda f: lambda arrays, x: jax.vmap(jax.jacrev(lambda x: f(arrays, x)))(x), normals(ROWS, DIM))


@pytest.mark.slow
def test_reverse_over_reverse(pair):
    def program(function):
        def total(arrays, x):
            return scalar_of(*jax.vmap(function, (None, 0))(arrays, x))

        return lambda arrays, x: jax.jacrev(jax.grad(total, 1), 1)(arrays, x)

    compare(pair, program, normals(2, DIM))


@pytest.mark.slow
def test_gradients_of_ensembles(pair):
    """vmap over weights inside the gradient, where the ordinary gradient is used, and outside."""
    functions, arrays = pair
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.9 * leaf, 1.1 * leaf]), arrays)

    def vmap_inside(function):
        batched = jax.vmap(jax.vmap(function, (None, 0)), (0, None))
        return jax.grad(lambda members, x: scalar_of(*batched(members, x)), (0, 1))

    def vmap_outside(function):
        batched = jax.vmap(function, (None, 0))
        return jax.vmap(jax.grad(lambda arrays, x: scalar_of(*batched(arrays, x)), (0, 1)), (0, None))

    compare((functions, members), vmap_inside, normals(ROWS, DIM))
    compare((functions, members), vmap_outside, normals(ROWS, DIM))


def test_training_steps_in_a_scan_and_their_gradient(pair):
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

    compare(pair, program, normals(3, ROWS, DIM))


@pytest.mark.slow
def test_values_without_jit_or_gradient(pair):
    functions, arrays = pair
    x = normals(ROWS, DIM)
    for a, b in zip(*(jax.vmap(f, (None, 0))(arrays, x) for f in functions), strict=True):
        np.testing.assert_array_equal(a, b)
    with jax.disable_jit():
        close(functions[0](arrays, x[0]), functions[1](arrays, x[0]))


def test_forward_mode_alone_and_over_reverse(pair):
    def jacobian(function):
        return lambda arrays, x: jax.jacfwd(function, (0, 1))(arrays, x[0])

    def directional(function):
        def total(arrays, x):
            return scalar_of(*jax.vmap(function, (None, 0))(arrays, x))

        return lambda arrays, x: jax.jvp(lambda x: jax.grad(total, (0, 1))(arrays, x), (x,), (jnp.cos(x),))[1]

    compare(pair, lambda function: lambda *inputs: (jacobian(function)(*inputs), directional(function)(*inputs)),
            normals(2, DIM))  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- memory


def temporary_bytes(n_layers, rows, recompute, dim=16, width=32):
    """Temporary memory of the compiled gradient of the mean log-density."""
    repeat = Repeat([coupling(i, dim=dim, width=width, depth=2) for i in range(n_layers)], recompute=recompute)
    arrays, static = eqx.partition(repeat, eqx.is_inexact_array)

    def loss(arrays, x):
        z, log_det = jax.vmap(eqx.combine(arrays, static).inverse_and_log_det)(x)
        return jnp.mean(0.5 * jnp.sum(z**2, 1) - log_det)

    compiled = jax.jit(jax.value_and_grad(loss)).lower(
        arrays, jax.ShapeDtypeStruct((rows, dim), jnp.result_type(float))
    )
    return compiled.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_does_not_grow_with_depth():
    few, many = (temporary_bytes(n, 2048, recompute=True) for n in (4, 16))
    assert many < 1.2 * few, (few, many)
    few, many = (temporary_bytes(n, 2048, recompute=False) for n in (4, 16))
    assert many > 2.5 * few, (few, many)


@pytest.mark.slow
def test_memory_per_sample_is_that_of_activations():
    """A separate gradient of the 17,000 weights of one layer would be 68 kB per sample."""
    few, many = (temporary_bytes(3, rows, recompute=True, width=128) for rows in (64, 128))
    activations = 4 * (12 * 128 + 40 * 16)
    assert (many - few) / 64 < 2 * activations < 4 * 128 * 128 / 2, (few, many)


# ------------------------------------------------------------------------------------------------------ as an option


class Counting(AbstractBijection):
    """Adds the number of times that it was initialised from data."""

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


def test_initialise_preserves_recompute():
    initialised = initialise_layers(Repeat([Counting(), Counting()], unroll=2, recompute=True), np.ones((3, 2)))
    assert initialised.recompute
    assert initialised.unroll == 2
    assert initialised.layers.count.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("recompute", [True, False])
def test_model_files_store_recompute(recompute, tmp_path):
    layers = [Elementwise(Affine(shift=1.0), (2,))] * 2
    save(tmp_path / "flow", pf.Flow(pf.bases.Normal((2,)), Repeat(layers, recompute=recompute)))
    assert load(tmp_path / "flow").bijection.recompute is recompute


def test_old_model_files_without_recompute_are_read():
    flow = pf.Flow(pf.bases.Normal((1, 1, 2)), Repeat([ActivationNormalisation((1, 1, 2))] * 2))
    config, tensors = tree.encode(flow)
    del config["fields"]["bijection"]["fields"]["recompute"]
    assert tree.decode(config, tree.registry(), tensors).bijection.recompute is False
    del config["fields"]["bijection"]["fields"]["unroll"]
    with pytest.raises(ValueError, match="unroll"):
        tree.decode(config, tree.registry(), tensors)


@pytest.mark.parametrize("recipe", quick_few(("glow", "emerging_glow", "periodic_glow", "real_nvp_image"), "glow"))
def test_recipes_pass_recompute_on(recipe):
    """Every stack of the flow has it, and the gradient of the log-density is unchanged."""
    with jax.enable_x64(True):
        x = normals(3, 4, 4, 2)
        gradients = []
        for recompute in (False, True):
            flow = cast(getattr(pf, recipe)((4, 4, 2), key=0, n_scales=1, n_layers=2, width=4, recompute=recompute),
                        jnp.float64)  # fmt: skip
            flow = perturbed(flow, 0, 0.05)
            stacks = jax.tree.leaves(flow, is_leaf=lambda node: isinstance(node, Repeat))
            assert {node.recompute for node in stacks if isinstance(node, Repeat)} == {recompute}
            trained, rest = eqx.partition(flow, pf.trainable(flow))
            score = lambda trained, rest=rest: jnp.mean(eqx.combine(trained, rest).log_prob(x))  # noqa: E731
            gradients.append(jax.tree.leaves(jax.jit(jax.grad(score))(trained)))
    assert any(np.abs(leaf).max() > 0 for leaf in gradients[0])
    for ordinary, recomputed in zip(*gradients, strict=True):
        np.testing.assert_allclose(recomputed, ordinary, rtol=1e-8, atol=1e-10)
