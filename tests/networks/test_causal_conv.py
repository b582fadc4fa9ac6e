"""Dilated causal convolutions: the formula, the dependence, and the cached direction against full passes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import second_order
from battery.case import randomised
from compiling import quickly_compiled
from jax.extend.core import subjaxprs
from tolerances import SEQUENTIAL

import pushforward as pf
from pushforward.bijections import Affine, MaskedAutoregressive, MixtureLogistic, n_parameters
from pushforward.errors import ShapeError
from pushforward.networks import CausalConvolution

KEY = jax.random.key(0)
SHUFFLED = tuple(np.random.default_rng(5).permutation(24).tolist())


def perturbed(tree, spread=0.3):
    trained, rest = eqx.partition(tree, pf.trainable(tree))
    return eqx.combine(randomised(trained, spread), rest)


def convolution(ranks, n_parameters, context_shape, **sizes):
    *frames, size = context_shape or (0,)
    out_shape = (n_parameters, ranks if isinstance(ranks, int) else len(ranks))
    return CausalConvolution(ranks, out_shape, context_size=size, n_frames=(*frames, None)[0], **sizes)


def network(ranks, context_shape=None, **options):
    sizes = {"width": 6, "depth": 4, "cycle": 3, **options}
    return perturbed(convolution(ranks, 2, context_shape, key=KEY, **sizes))


def layer(method, transformer, context_shape=None, **options):
    sizes = {"width": 6, "depth": 5, "cycle": 3, **options}
    conditioner = convolution(SHUFFLED, n_parameters(transformer), context_shape, key=KEY, **sizes)
    return perturbed(MaskedAutoregressive(transformer, conditioner, context_shape=context_shape, method=method), 0.1)


def data(n, context_shape, dtype):
    random = np.random.default_rng(1)
    z = jnp.asarray(random.normal(size=(n, 24)), dtype)
    return z, None if context_shape is None else jnp.asarray(random.normal(size=(n, *context_shape)), dtype)


def dependence(fn, point):
    """Which output (last axis) changes with which entry of the input, by one program, so that bits are comparable."""
    fn = jax.jit(fn)
    start = fn(point)
    changed = [(fn(point.at[index].add(0.5)) != start).any(0) for index in np.ndindex(point.shape)]
    return np.stack(changed, -1)


def scan_lengths(jaxpr):
    """Lengths of all scans of a program, at any depth."""
    lengths = {eqn.params["length"] for eqn in jaxpr.eqns if eqn.primitive.name == "scan"}
    return lengths.union(*(scan_lengths(inner) for inner in subjaxprs(jaxpr)))


def reference_parameters(n, x, context):
    """Parameters (P, D) step by step and layer by layer, by the formula of the docstring."""
    w = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), n)
    width, depth, dim = len(w.start), n.depth, len(x)
    gates = np.zeros((depth, dim, width))
    out = np.zeros((w.out_weight.shape[0], dim))
    columns = np.zeros((depth, dim, width))
    for t in range(dim):
        column = w.in_weight * np.arcsinh(x[t - 1]) + w.in_bias if t else w.start
        total = w.skip_bias.copy()
        for index in range(depth):
            columns[index, t] = column
            back = t - 2 ** (index % n.cycle)
            pair = np.concatenate([column, columns[index, back] if back >= 0 else np.zeros(width)])
            inner = pair @ w.gate_weight[index] + w.gate_bias[index]
            if context is not None:
                frames = context.reshape(-1, context.shape[-1])
                inner = inner + frames[t // -(-dim // len(frames))] @ w.context_weights[0][index]
            gates[index, t] = np.tanh(inner[:width]) / (1 + np.exp(-inner[width:]))
            total += gates[index, t] @ w.skip_weight[index]
            if index < depth - 1:
                column = column + gates[index, t] @ w.residual_weight[index]
        head = np.maximum(np.maximum(total, 0) @ w.head_weight + w.head_bias, 0)
        out[:, t] = w.out_weight @ head + w.out_bias
    return out


@pytest.mark.parametrize(("dim", "context_shape"), [(1, (2,)), (2, None), (13, (3,)), (13, (4, 3))])
def test_pass_matches_the_formula(dim, context_shape):
    with jax.enable_x64(True):
        n, x = network(dim, context_shape), np.random.default_rng(0).normal(size=dim)
        context = None if context_shape is None else np.random.default_rng(1).normal(size=context_shape)
        got = n(jnp.asarray(x), None if context is None else jnp.asarray(context))
        np.testing.assert_allclose(got, reference_parameters(n, x, context), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("ranks", [24, SHUFFLED])
def test_step_depends_exactly_on_its_receptive_field(ranks):
    with jax.enable_x64(True), quickly_compiled():
        n = network(ranks)
        assert n.dilations == (1, 2, 4, 1)
        assert n.receptive_field == 9
        lag = n.inverse_order[:, None] - n.inverse_order[None]
        np.testing.assert_array_equal(dependence(lambda x: n(x), jnp.linspace(-1.0, 1.0, 24)), (lag > 0) & (lag <= 9))


def test_context_reaches_every_step():
    with jax.enable_x64(True), quickly_compiled():
        n = network(13, (2,))
        assert dependence(lambda c: n(jnp.ones(13), c), jnp.ones(2)).all()


def test_frame_reaches_its_steps_and_their_dependents():
    """Seven steps in frames of three; a frame reaches later steps through the dilations of the later layers."""
    with jax.enable_x64(True), quickly_compiled():
        n = network(7, (3, 2), depth=2)
        changed = dependence(lambda c: n(jnp.ones(7), c), jnp.ones((3, 2))).reshape(7, 3, 2)
    step, last = np.arange(7)[:, None], np.array([2, 5, 6])[None]
    expected = (step // 3 >= np.arange(3)) & (step - last <= sum(n.dilations[1:]))
    np.testing.assert_array_equal(changed, np.broadcast_to(expected[..., None], changed.shape))


def test_dilations_are_below_the_length():
    for dim, expected in ((1, (1,)), (2, (1,)), (3, (1, 2)), (5, (1, 2, 4)), (9, (1, 2, 4, 8)), (8, (1, 2, 4))):
        n = CausalConvolution(dim, (2, dim), width=2, depth=4, cycle=10, key=KEY)
        assert n.dilations == (expected * 4)[:4]
        assert max(n.dilations) < max(dim, 2)
    assert CausalConvolution(5000, (1, 5000), width=1, depth=20, key=KEY).receptive_field == 1 + 2 * 1023


@pytest.mark.parametrize(
    ("context_shape", "dtype"),
    [
        pytest.param(None, "float32", marks=pytest.mark.slow),
        ((2,), "float64"),
        ((5, 2), "float32"),
        pytest.param((5, 2), "float64", marks=pytest.mark.slow),
    ],
)
def test_cached_matches_full_passes(context_shape, dtype):
    """Values and their gradients with respect to weights, input and context; cycles of three in five layers."""

    def values_and_gradients(method):
        tree = layer(method, Affine(), context_shape)
        trained, rest = eqx.partition(tree, pf.trainable(tree))
        z, context = data(3, context_shape, dtype)

        def run(trained, z, context):
            forward = eqx.combine(trained, rest).forward_and_log_det
            return jax.vmap(forward, (0, None if context is None else 0))(z, context)

        def run_and_pull_back(*inputs):
            out, vjp = jax.vjp(run, *inputs)
            return out, vjp((jnp.cos(jnp.arange(72, dtype=dtype)).reshape(3, 24), jnp.ones_like(out[1])))

        return jax.tree.leaves(jax.jit(run_and_pull_back)(trained, z, context))

    with jax.enable_x64(dtype == "float64"), quickly_compiled():
        reference = values_and_gradients("sequential")
        for mine, theirs in zip(values_and_gradients("cached"), reference, strict=True):
            assert mine.dtype == theirs.dtype == dtype
            np.testing.assert_array_less(
                np.abs(mine - theirs), SEQUENTIAL[dtype] * (1 + np.abs(theirs).max(initial=0.0))
            )


@pytest.mark.slow
def test_cached_matches_full_passes_with_a_root_transformer():
    z, context = data(2, (5, 2), "float32")
    with quickly_compiled():
        cached, sequential = (
            jax.jit(jax.vmap(layer(method, MixtureLogistic(3), (5, 2)).forward_and_log_det))(z, context)
            for method in ("cached", "sequential")
        )
    np.testing.assert_allclose(cached[0], sequential[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(cached[1], sequential[1], rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("verb", second_order.METHODS)
def test_second_derivatives_agree_with_differences(verb):
    network = CausalConvolution(5, (2, 5), width=3, depth=2, context_size=1, n_frames=2, key=jax.random.key(0))
    layer = MaskedAutoregressive("affine", network, context_shape=(2, 1))
    second_order.check_second_derivatives(layer, verb, 2)


@pytest.mark.parametrize("value", [1e30, -1e30, 1e-30, 0.0])
def test_extreme_values_give_finite_results(value):
    n = network(9)
    with quickly_compiled():
        out, slopes = jax.jit(lambda x: (n(x), jax.jacrev(n)(x)))(jnp.full(9, value))
    assert np.isfinite(out).all()
    assert np.isfinite(slopes).all()


class TestRecipes:
    def test_teacher_has_multimodal_conditionals(self):
        flow = pf.wavenet(dim=4, n_components=2, width=4, depth=2, key=0)
        means = lambda f: f.bijection.bijections[0].layers.transformer.means  # noqa: E731
        flow = eqx.tree_at(means, flow, jnp.asarray([[-6.0, 6.0]]))
        with quickly_compiled():
            density = flow.log_prob(np.array([[-6.0, 0, 0, 0], [0.0, 0, 0, 0], [6.0, 0, 0, 0]]))
        assert density[0] > density[1] + 2
        assert density[2] > density[1] + 2

    @pytest.mark.parametrize("recipe", [pf.wavenet, pf.parallel_wavenet])
    def test_frames_condition_both_directions(self, recipe):
        flow = recipe(dim=7, context_dim=2, n_frames=3, width=4, depth=2, key=0)
        assert flow.context_shape == (3, 2)
        context = np.ones((3, 2), np.float32)
        with quickly_compiled():
            x, scores = flow.sample_and_log_prob(5, key=1, context=context)
            np.testing.assert_allclose(flow.log_prob(x, context), scores, rtol=1e-4, atol=1e-4)

    def test_student_samples_in_one_pass(self):
        """Its sampler has no loop over the steps, its density has one."""
        flow = pf.parallel_wavenet(dim=40, width=4, depth=2, n_layers=1, key=0)
        assert 40 not in scan_lengths(jax.make_jaxpr(flow.bijection.forward)(jnp.zeros(40)).jaxpr)
        assert 40 in scan_lengths(jax.make_jaxpr(flow.bijection.inverse)(jnp.zeros(40)).jaxpr)

    def test_layers_have_different_weights(self):
        stack = pf.parallel_wavenet(dim=4, width=4, depth=2, n_layers=2, key=0).bijection.bijections[0]
        first, second = (stack.layer(index).bijection.network.gate_weight for index in range(2))
        assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        (lambda: network((0, 0, 1)), ShapeError, ("ranks", "permutation of 0..2", r"\[0, 0, 1\]")),
        (lambda: network(3, depth=0), ValueError, ("depth", "at least 1", "got 0")),
        (lambda: network(3, cycle=0), ValueError, ("cycle", "at least 1", "got 0")),
        (lambda: network(3, (2, 0)), ValueError, ("context_size, n_frames", "at least one", "got 0 and 2")),
        (lambda: network(3, (-1,)), ValueError, ("context_size, n_frames", "at least 0", "got -1 and None")),
        (lambda: network(5, (4, 2)), ValueError, ("n_frames", "4 frames of 2 steps", "first 3 cover all 5")),
        (lambda: network(3, (2,))(jnp.ones(3)), ShapeError, ("context", r"\(2,\)", "none", "context=")),
        (lambda: network(3, (2,))(jnp.ones(3), jnp.ones(4)), ShapeError, ("context", r"\(2,\)", r"\(4,\)")),
        (lambda: pf.wavenet(3, n_frames=2, key=0), ValueError, ("n_frames", "without a context", "context_dim=")),
        (lambda: pf.wavenet(3, context_dim=0, key=0), ValueError, ("context_dim", "at least 1", "got 0")),
        (lambda: pf.parallel_wavenet(3, cycle=0, key=0), ValueError, ("cycle", "whole number", "got 0")),
    ],
)  # fmt: skip
def test_bad_arguments_raise_clear_errors(call, error, fragments):
    with pytest.raises(error, match=".*".join(fragments)):
        call()
