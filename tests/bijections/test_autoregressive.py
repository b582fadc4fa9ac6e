"""The sequential direction of autoregressive layers: fast methods match full passes, and so do their gradients.

The sizes form a pairwise-covering set: any two settings of two factors meet in some case. `make test-slow` adds 500
random ones, with all of XLA's optimisations and with gradients of every batch that is not empty. The quick cases use
few optimisations, which compiles twice as fast, and compare gradients of the largest batch.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from derivative_checks import METHODS, check_derivatives
from sampling import quick_few
from tolerances import SEQUENTIAL, SEQUENTIAL_REFERENCE

import pushforward as pf
from pushforward.bijections import (
    Affine,
    BlockAutoregressive,
    Inverse,
    MaskedAutoregressive,
    RationalQuadraticSpline,
    Repeat,
    n_parameters,
)
from pushforward.core.fields import cast
from pushforward.errors import InverseError, NumericError
from pushforward.networks import CausalAttention, MaskedMLP
from pushforward.numerics.fixed_point import fixed_point

FACTORS = {
    "dim": (1, 2, 3, 7, 43, 64, 257),
    "width": ("D/2", "D", 64, 256),
    "depth": (1, 2, 3),
    "residual": (False, True),
    "order": ("natural", "reversed", "random"),
    "context": (0, 2),
    "family": ("affine", "rational_quadratic"),
    "dtype": ("float32", "float64"),
    "batch": (0, 1, 33),
}


def covering(seed=0):
    """A greedy set of cases in which every pair of settings of two factors occurs; as few slow ones as possible."""
    random, names = np.random.default_rng(seed), list(FACTORS)
    pairs = {
        (a, i, b, j)
        for a, b in itertools.combinations(names, 2)
        for i in range(len(FACTORS[a]))
        for j in range(len(FACTORS[b]))
    }
    cases = []
    while pairs:
        best, gain, value = None, set(), 0.0
        for _ in range(60):
            picks = {name: int(random.integers(len(values))) for name, values in FACTORS.items()}
            a, i, b, j = min(pairs)
            picks[a], picks[b] = i, j
            got = {(a, picks[a], b, picks[b]) for a, b in itertools.combinations(names, 2)} & pairs
            is_slow = FACTORS["family"][picks["family"]] != "affine" and FACTORS["dim"][picks["dim"]] >= 43
            if len(got) / (4 if is_slow else 1) > value:
                best, gain, value = picks, got, len(got) / (4 if is_slow else 1)
        pairs -= gain
        cases.append({name: FACTORS[name][best[name]] for name in names})
    return cases


def random_cases(n, seed):
    random = np.random.default_rng(seed)
    return [{name: values[random.integers(len(values))] for name, values in FACTORS.items()} for _ in range(n)]


CASES = covering()
TRANSFORMERS = {"affine": Affine, "rational_quadratic": lambda: RationalQuadraticSpline(4)}


def randomised(tree, seed=0, scale=0.4):
    """Random weights of a size at which the parameters vary but the map stays well-conditioned."""
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(tree, pf.trainable(tree))

    def move(leaf):
        fan_in = leaf.shape[-1] if leaf.ndim == 3 else 1
        return leaf + jnp.asarray(scale / np.sqrt(fan_in) * random.normal(size=leaf.shape), leaf.dtype)

    return eqx.combine(jax.tree.map(move, trained), rest)


def build_layer(case, method):
    dim, transformer = case["dim"], TRANSFORMERS[case["family"]]()
    width = {"D/2": max(dim // 2, 1), "D": dim}.get(case["width"], case["width"])
    order = {"natural": np.arange(dim), "reversed": np.arange(dim)[::-1]}.get(case["order"])
    order = np.random.default_rng(dim).permutation(dim) if order is None else order
    network = MaskedMLP(
        np.argsort(order), (n_parameters(transformer), dim), width=width, depth=case["depth"],
        context_size=case["context"], residual=case["residual"], key=jax.random.key(1),
    )  # fmt: skip
    context_shape = (case["context"],) if case["context"] else None
    return randomised(MaskedAutoregressive(transformer, network, context_shape=context_shape, method=method))


def values_and_gradients(layer, z, context, with_gradient):
    """x and log|det| of a batch, and the gradient of one loss of both with respect to weights, z and context."""
    trained, rest = eqx.partition(layer, pf.trainable(layer))

    def run(trained, z, context):
        forward = eqx.combine(trained, rest).forward_and_log_det
        return jax.vmap(forward, (0, None if context is None else 0))(z, context)

    def both(trained, z, context):
        if not with_gradient:
            return run(trained, z, context), None
        out, vjp = jax.vjp(run, trained, z, context)
        weights = jnp.cos(jnp.arange(out[0].size, dtype=z.dtype)).reshape(out[0].shape)
        return out, vjp((weights, jnp.ones_like(out[1])))

    return jax.device_get(jax.jit(both)(trained, z, context))


def compute(case, method, smallest_batch_of_gradients, in_double=False):
    """The results of one method as a list; `in_double`: from the same float32 inputs, computed in float64."""
    random, single = np.random.default_rng(3), case["dtype"] == "float32"
    with jax.enable_x64(not single):
        z = random.normal(size=(case["batch"], case["dim"])).astype(case["dtype"])
        context = random.normal(size=(case["batch"], case["context"])).astype(case["dtype"])
        layer = build_layer(case, method)
    with jax.enable_x64(in_double or not single):
        dtype = jnp.dtype("float64" if in_double else case["dtype"])
        layer = cast(layer, dtype)
        z, context = jnp.asarray(z, dtype), jnp.asarray(context, dtype) if case["context"] else None
        with_gradient = case["dim"] <= (43 if case["family"] == "affine" else 7)
        with_gradient = with_gradient and case["batch"] >= smallest_batch_of_gradients
        return jax.tree.leaves(values_and_gradients(layer, z, context, with_gradient))


def compare(case, smallest_batch_of_gradients=1):
    """Both fast methods against full passes.

    With hundreds of coordinates in float32, full passes have errors in the fourth digit: if a method differs from them
    by more than the tolerance, both are compared with the results in float64.
    """
    reference = compute(case, "sequential", smallest_batch_of_gradients)
    tolerance, truth = SEQUENTIAL[case["dtype"]], None
    for method in ("cached", "jacobi"):
        got = compute(case, method, smallest_batch_of_gradients)
        for index, (mine, theirs) in enumerate(zip(got, reference, strict=True)):
            assert mine.dtype == theirs.dtype
            allowed = tolerance * (1 + np.abs(theirs).max(initial=0.0))
            if np.abs(mine - theirs).max(initial=0.0) <= allowed:
                continue
            assert case["dtype"] == "float32", method
            truth = truth or compute(case, "sequential", smallest_batch_of_gradients, in_double=True)
            error, reference_error = (np.abs(result - truth[index]).max() for result in (mine, theirs))
            assert error <= allowed + SEQUENTIAL_REFERENCE * reference_error, method


@pytest.mark.parametrize(
    "case", quick_few(CASES, *CASES[::10]), ids=lambda case: "-".join(str(v) for v in case.values())
)
def test_cached_and_jacobi_match_full_passes(case):
    with quickly_compiled():
        compare(case, smallest_batch_of_gradients=33)


@pytest.mark.slow
def test_jacobi_converges_despite_different_rounding_of_the_stop_test():
    """A random case in which the stop test recomputed the iterate with other rounding and never found it equal."""
    case = {**CASE, "dim": 3, "width": "D/2", "depth": 3, "residual": True, "order": "random", "family": "affine"}
    with quickly_compiled():
        compare({**case, "context": 0, "dtype": "float32", "batch": 1})


@pytest.mark.slow
@pytest.mark.parametrize("family", ["affine", pytest.param("rational_quadratic", marks=pytest.mark.slow)])
def test_second_derivatives_of_the_sequential_direction(family):
    """The gradient has a custom rule, whose gradient must be right too (reverse mode twice)."""
    case = {**CASE, "dim": 5, "width": 8, "depth": 2, "family": family, "context": 2}

    def twice(method):
        layer = build_layer(case, method)

        def both(z, context):
            x, log_det = layer.forward_and_log_det(z, context)
            return jnp.tanh(x).sum() + log_det

        return jax.jit(jax.jacrev(jax.grad(both, (0, 1)), (0, 1)))(jnp.linspace(-1.0, 1.0, 5), jnp.array([0.3, -0.5]))

    with jax.enable_x64(True), quickly_compiled():
        expected = jax.tree.leaves(twice("sequential"))
        for method in ("cached", "jacobi"):
            for mine, theirs in zip(jax.tree.leaves(twice(method)), expected, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8)


def affine_layer(method, index=0, context=0):
    network = MaskedMLP(4, (2, 4), width=4, depth=1, context_size=context, activation="tanh", key=jax.random.key(index))
    return MaskedAutoregressive("affine", network, method=method, context_shape=(context,) if context else None)


def attentive():
    network = CausalAttention(
        4, (2, 4), width=4, depth=1, n_heads=2, token_size=2, context_size=1, key=jax.random.key(0)
    )
    return MaskedAutoregressive("affine", network, context_shape=(1,))


TWICE = {
    "cached": lambda: affine_layer("cached", context=1),
    "jacobi": lambda: affine_layer("jacobi", context=1),
    "jacobi, repeated": lambda: Repeat([affine_layer("jacobi", i) for i in range(2)]),
    "cached, repeated": lambda: Repeat([affine_layer("cached", i) for i in range(2)]),
    "inverse, repeated": lambda: Repeat([Inverse(affine_layer("cached", i)) for i in range(2)]),
    "attention": attentive,
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", METHODS)
@pytest.mark.parametrize("kind", TWICE)
def test_derivatives_agree_with_differences(kind, verb):
    check_derivatives(TWICE[kind](), verb)


def test_forward_mode_of_the_sequential_direction():
    """The layer is applied twice in a loop, and mapped: Jacobians and second derivatives are those of full passes."""

    def jacobians(method):
        layer = randomised(affine_layer(method, context=1))

        def twice(z, context):
            return jax.lax.scan(lambda z, _: layer.forward_and_log_det(z, context), z, length=2)

        def both(z, context):
            gradient = jax.grad(lambda z: jnp.sum(jnp.sin(twice(z, context)[0])))
            return jax.jacfwd(twice, (0, 1))(z, context), jax.jvp(gradient, (z,), (jnp.cos(z),))[1]

        zs, context = jnp.linspace(-1.0, 1.0, 8).reshape(2, 4), jnp.array([0.5])
        return jax.jit(jax.vmap(both, (0, None)))(zs, context)

    with quickly_compiled():
        expected = jacobians("sequential")
        for method in ("cached", "jacobi"):
            for got, right in zip(jax.tree.leaves(jacobians(method)), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_five_hundred_random_cases(seed):
    """One in ten with all optimisations, the others with few, which takes a third of the time."""
    first, *others = random_cases(10, seed)
    compare(first)
    with quickly_compiled():
        for case in others:
            compare(case)


def test_cases_cover_every_pair_and_are_few():
    assert len(CASES) <= 60
    for a, b in itertools.combinations(FACTORS, 2):
        met = {(case[a], case[b]) for case in CASES}
        assert met == set(itertools.product(FACTORS[a], FACTORS[b]))


def test_masked_network_depends_exactly_on_the_preceding_coordinates():
    """p(x2) p(x3|x2) p(x1|x2,x3): perturb each coordinate and compare which parameters change."""
    network = randomised(MaskedMLP((2, 0, 1), (2, 3), width=16, depth=2, key=jax.random.key(0)), scale=1.0)
    x = jnp.array([0.3, -0.2, 0.5])
    start = network(x)
    moves = np.stack([np.asarray((network(x.at[i].add(0.1)) != start).any(0)) for i in range(3)], 1)
    np.testing.assert_array_equal(moves, [[False, True, True], [False, False, False], [False, True, False]])


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_context_reaches_every_output_of_a_masked_network(dim):
    network = randomised(MaskedMLP(dim, (2, dim), width=8, depth=2, context_size=2, key=jax.random.key(0)), scale=1.0)
    moves = np.abs(np.asarray(jax.jacrev(lambda c: network(jnp.ones(dim), c))(jnp.ones(2))))
    assert (moves.max(2) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("token_size", [1, 3])
def test_attention_matches_full_passes(token_size):
    def layer(method):
        network = CausalAttention(
            np.argsort((3, 1, 0, 2, 6, 5, 4)), (2, 7), width=8, depth=2, n_heads=2, token_size=token_size,
            context_size=2, key=jax.random.key(0),
        )  # fmt: skip
        return randomised(MaskedAutoregressive("affine", network, context_shape=(2,), method=method))

    with jax.enable_x64(True), quickly_compiled():
        random = np.random.default_rng(0)
        z, context = jnp.asarray(random.normal(size=(4, 7))), jnp.asarray(random.normal(size=(4, 2)))
        reference = values_and_gradients(layer("sequential"), z, context, True)
        for method in ("cached", "jacobi"):
            got = values_and_gradients(layer(method), z, context, True)
            for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(reference), strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10)


class TestJacobi:
    def test_iterations_do_not_exceed_ranks_plus_one(self):
        layer = build_layer({**CASE, "dim": 7}, "jacobi")
        x, _, n_iterations = layer.forward_by_jacobi(jnp.ones(7))
        assert 1 < n_iterations <= 8
        next_x, _ = layer._one_pass(x, jnp.ones(7), None)
        np.testing.assert_allclose(next_x, x, rtol=1e-6)  # another program, with other rounding

    def test_tolerance_zero_stops_when_no_bit_changes(self):
        """x <- x / 2 + 1 has equal rounding in every program: halving is exact, and a sum is rounded once."""
        halved = lambda shift, x: x * 0.5 + shift  # noqa: E731
        x, n_iterations, is_converged = fixed_point(halved, jnp.ones(()), jnp.zeros(()), 0.0, 100)
        assert is_converged
        assert halved(jnp.ones(()), x) == x
        assert 20 < n_iterations < 30  # one of 24 bits per iteration
        early, _, is_converged = fixed_point(halved, jnp.ones(()), jnp.zeros(()), 0.0, int(n_iterations) - 2)
        assert not is_converged
        assert early != x

    def test_looser_tolerance_takes_fewer_iterations(self):
        exact = small(tolerance=0.0).forward_by_jacobi(jnp.ones(7))
        loose = small(tolerance=0.1).forward_by_jacobi(jnp.ones(7))
        assert loose[2] < exact[2]

    @pytest.mark.slow
    def test_gradient_error_at_a_tolerance_does_not_depend_on_the_scale(self):
        layer = small(tolerance=1e-4)

        def slopes(scale):
            return jax.grad(lambda z: scale * layer.forward_by_jacobi(z)[0].sum())(jnp.ones(7)) / scale

        for scale in (1e-3, 1e-6, 1e6):
            np.testing.assert_allclose(slopes(scale), slopes(1.0), rtol=1e-5)

    def test_identity_takes_two_iterations(self):
        layer = MaskedAutoregressive("affine", MaskedMLP(7, (2, 7), width=8, depth=1, key=jax.random.key(0)))
        assert layer.forward_by_jacobi(jnp.ones(7))[2] == 2

    def test_max_iterations_raises(self):
        with pytest.raises(InverseError, match="max_iterations=2"):
            small(max_iterations=2).forward_by_jacobi(jnp.ones(7))

    def test_max_iterations_gives_nan_under_jit_and_sample_raises(self):
        layer = small(max_iterations=2)
        assert np.isnan(eqx.filter_jit(layer.forward)(jnp.ones(7))).all()
        with pytest.raises(NumericError, match="NaN"):
            pf.Flow(pf.bases.Normal((7,)), layer).sample(3, key=0)


CASE = {
    "dim": 7, "width": 64, "depth": 1, "residual": False, "order": "natural", "context": 0, "family": "affine",
    "dtype": "float32", "batch": 1,
}  # fmt: skip


def small(**options):
    network = MaskedMLP(7, (2, 7), width=16, depth=1, key=jax.random.key(0))
    return randomised(MaskedAutoregressive("affine", network, method="jacobi", **options))


def test_affine_maf_layer_is_an_iaf_layer_with_another_conditioner():
    """x_i = z_i s_i(x_<i) + t_i(x_<i) with x_<i a function of z_<i: triangular in z, affine in z_i."""
    layer = build_layer({**CASE, "dim": 3}, "cached")
    z = jnp.array([0.2, -0.4, 1.0])
    jacobian = jax.jit(jax.jacrev(layer.forward))(z)
    assert np.abs(np.triu(jacobian, 1)).max() == 0
    forward = jax.jit(lambda z: layer.forward(z))
    steps = [forward(z.at[2].set(v))[2] for v in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(steps[2] - steps[1], steps[1] - steps[0], rtol=1e-5)


def test_iaf_is_the_inverse_of_maf():
    layer = build_layer({**CASE, "dim": 5}, "cached")
    z = jnp.linspace(-1.0, 1.0, 5)
    x, log_det = Inverse(layer).forward_and_log_det(z)
    expected, expected_log_det = layer.inverse_and_log_det(z)
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(log_det, expected_log_det)


def test_bnaf_round_trip_of_large_values():
    layer = BlockAutoregressive(2, key=jax.random.key(0))
    back_and_forth = eqx.filter_jit(lambda z: layer.inverse(layer.forward(z)))
    for z in (1e-3, 1.0, 1e3, -1e6):
        np.testing.assert_allclose(back_and_forth(jnp.full(2, z)), jnp.full(2, z), rtol=1e-4)


@pytest.mark.slow
def test_made_mog_has_a_conditional_with_two_modes():
    """A mixture in one layer: with its means apart the first conditional has two peaks."""
    flow = pf.made_mog(dim=2, n_components=2, key=0)
    means = lambda f: f.bijection.bijections[0].layers.transformer.means  # noqa: E731
    flow = eqx.tree_at(means, flow, jnp.asarray([[-3.0, 3.0]]))
    density = flow.log_prob(np.array([[-3.0, 0.0], [0.0, 0.0], [3.0, 0.0]]))
    assert density[0] > density[1] + 2
    assert density[2] > density[1] + 2
    samples = np.asarray(flow.sample(500, key=1))[:, 0]
    assert 150 < (samples > 0).sum() < 350  # 0.5 +- 0.2 of 500: nine standard errors


def test_samples_do_not_depend_on_chunks():
    """Rows beyond a chunk reuse its program: 3,000 x 257 is three chunks of 1,024 rows of one program."""
    flow = pf.maf(dim=257, n_layers=1, width=64, depth=1, key=0)
    some, many = flow.sample(3, key=0), flow.sample(3000, key=0)
    assert many.shape == (3000, 257)
    np.testing.assert_allclose(many[:3], some, atol=1e-4)


def test_autoregressive_flow_accepts_any_scalar_bijection():
    for transformer in ("additive", "affine", "leaky_relu", RationalQuadraticSpline(4)):
        assert pf.autoregressive_flow(dim=2, transformer=transformer, width=8, key=0).sample(2, key=0).shape == (2, 2)
