"""Residual blocks: unbiased log-determinants, inverses at the bound, certified norms, deterministic scores."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from derivative_checks import METHODS, check_derivatives, check_derivatives_of, double
from jaxtyping import Array, Float
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import AbstractLogDet, Contractive, Exact, PowerSeries, Repeat, RussianRoulette
from pushforward.bijections.residual.solve import fixed_point_of
from pushforward.core.state import certify, finalise, refresh
from pushforward.errors import InverseError, ModelFileError
from pushforward.networks import AbstractLipschitzNetwork, LipschitzConv, LipschitzConvNet, LipschitzMLP, bounds_in

N_KEYS = 20_000


class Linear(AbstractLipschitzNetwork):
    """g(x) = A x + 1."""

    matrix: Float[Array, "..."]
    bound: Float[Array, "..."]
    lipschitz: float = eqx.field(static=True)
    norm: float = eqx.field(static=True, default=2.0)
    context_size: int = eqx.field(static=True, default=0)

    @property
    def shape(self):
        return (len(self.matrix),)

    def __call__(self, x, context=None, *, key=None):
        return self.matrix @ x + 1.0

    def certified(self):
        return jnp.linalg.norm(self.matrix, 2)


def linear(bound, size, kind="general"):
    random = np.random.default_rng(0)
    if kind == "general":
        matrix = random.normal(size=(size, size))
    else:
        matrix = {"rotation": np.linalg.qr(random.normal(size=(size, size)))[0], "minus": -np.eye(size)}[kind]
    matrix = bound * matrix / np.linalg.norm(matrix, 2)
    dtype = jnp.result_type(float)
    return Linear(jnp.asarray(matrix, dtype), jnp.asarray(bound, dtype), bound)


def series_moments(matrix, survival, is_random, probe):
    """Mean and second moment of the estimator by its closed series; survival[k] = P(N > k), down to zero."""
    term, total, mean, second = np.eye(len(matrix)), np.zeros_like(matrix), 0.0, 0.0
    for k in range(len(survival) - 1):
        if k > 0:
            term = term @ matrix
            total = total + (-1) ** (k + 1) / (k * survival[k - 1]) * term
        share = survival[k - 1] - survival[k] if k > 0 else 1 - survival[0]
        share = share if is_random else float(k == len(survival) - 2)
        symmetric = (total + total.T) / 2
        spread = np.sum(symmetric**2) - (np.sum(np.diag(symmetric) ** 2) if probe == "rademacher" else 0.0)
        mean, second = mean + share * np.trace(total), second + share * (np.trace(total) ** 2 + 2 * spread)
    return mean, second


@pytest.mark.parametrize("probe", quick_few(["gaussian", "rademacher"], "rademacher"))
@pytest.mark.parametrize("distribution", ["geometric", "poisson", "series"])
def test_moments_match_the_closed_series(distribution, probe):
    """20,000 keys, within five standard errors; the spectrum is known."""
    bound, n_exact = 0.8, 2
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = linear(bound, 4)
        roulette = distribution != "series"
        estimator = (
            RussianRoulette(distribution, n_exact=n_exact, probe=probe) if roulette else PowerSeries(6, probe=probe)
        )
        keys = jax.random.split(jax.random.key(1), N_KEYS)
        estimates = np.asarray(jax.jit(jax.vmap(lambda key: estimator(network, jnp.ones(4), None, key)[1]))(keys))
    matrix = np.asarray(network.matrix)
    n_terms = np.arange(1, 400)  # survival[k] = P(N > k) = P(N >= k + 1)
    if distribution == "series":
        survival = np.where(n_terms <= 6, 1.0, 0.0)[:8]
    elif distribution == "geometric":
        survival = ((1 + bound**2) / 2) ** np.maximum(n_terms - n_exact, 0)
    else:
        extra = np.maximum(n_terms - n_exact, 0)
        rate = estimator.rate
        survival = np.where(extra > 0, scipy.special.gammainc(np.maximum(extra, 1), rate), 1.0)[:60]
    mean, second = series_moments(matrix, survival, distribution != "series", probe)
    # the second moment of the Poisson distribution is infinite here: its series grows without end
    for estimate, expected in ((estimates, mean), (estimates**2, second))[: 1 if distribution == "poisson" else 2]:
        assert abs(estimate.mean() - expected) < 5 * estimate.std() / N_KEYS**0.5
    if distribution == "geometric":
        np.testing.assert_allclose(mean, np.linalg.slogdet(np.eye(4) + matrix)[1], rtol=1e-8)


@pytest.mark.parametrize(
    "estimator",
    [pytest.param(RussianRoulette(), marks=pytest.mark.slow), RussianRoulette(n_probes=3, probe="orthogonal")],
)
def test_training_gradients_are_unbiased(estimator):
    with jax.enable_x64(True):
        network = LipschitzMLP(3, width=8, depth=1, lipschitz=0.9, key=jax.random.key(0))
        trained, rest = eqx.partition(network, pf.trainable(network))

        def value(trained, estimator, key):
            return estimator(eqx.combine(trained, rest), jnp.arange(3.0), None, key, is_shared=True)[1]

        exact = jax.grad(value)(trained, Exact(), jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 4000)
        # sequentially: a batch would share one number of terms
        gradients = jax.jit(lambda: jax.lax.map(lambda key: jax.grad(value)(trained, estimator, key), keys))()
        exact, gradients = jax.device_get((exact, gradients))
    for truth, estimates in zip(jax.tree.leaves(exact), jax.tree.leaves(gradients), strict=True):
        error = np.asarray(estimates).std(0) / len(keys) ** 0.5
        assert (np.abs(np.asarray(estimates).mean(0) - truth) <= 5 * error + 1e-12).all()


def test_training_shares_the_number_of_terms_of_a_batch():
    network = linear(0.9, 3)

    def batch(key):
        keys = jax.random.split(key, 64)
        estimator = RussianRoulette(probe="rademacher")
        return jax.vmap(lambda key: estimator(network, jnp.ones(3), None, key, is_shared=True)[1])(keys)

    estimates = np.asarray(jax.jit(jax.vmap(batch))(jax.random.split(jax.random.key(0), 2000)))
    means = estimates.mean(1)
    truth = np.linalg.slogdet(np.eye(3) + np.asarray(network.matrix))[1]
    assert abs(means.mean() - truth) < 5 * means.std() / len(means) ** 0.5


def test_poisson_warns_about_its_variance():
    with pytest.warns(UserWarning, match="variance"):
        RussianRoulette("poisson")


@pytest.mark.parametrize(
    ("bound", "kind"),
    [
        (0.97, "general"),
        (0.999, "minus"),
        *(pytest.param(0.97, kind, marks=pytest.mark.slow) for kind in ("rotation", "minus")),
    ],
)
def test_inverse_at_the_bound(bound, kind):
    """Linear maps at their Lipschitz bound; a rotation is the one that no acceleration helps."""
    with jax.enable_x64(True):
        block = Contractive(linear(bound, 43, kind), training=Exact(), scoring=Exact())
        z = np.random.default_rng(1).normal(size=(8, 43))
        solution = jax.device_get(jax.jit(jax.vmap(block.solve))(z + jax.vmap(block.network)(jnp.asarray(z))))
    assert solution.is_converged.all()
    assert (np.abs(solution.value - z) <= 1e-6).all()
    assert (np.linalg.norm(solution.value - z, axis=1) <= solution.error_bound + 1e-12).all()


@pytest.mark.slow
def test_uncertified_inverse_raises():
    flow = pf.residual_flow(dim=2, width=4, depth=1, n_layers=2, key=0)
    steep = eqx.tree_at(_bound, flow, jnp.asarray([0.9, 1.2]))
    with pytest.raises(InverseError, match=r"bound of the network is 1\.2"):
        steep.sample(3, key=0)
    assert np.isfinite(steep.log_prob(np.ones((3, 2)))).all()


@pytest.mark.slow
def test_check_reports_a_block_that_is_not_a_contraction():
    flow = pf.residual_flow(dim=2, width=4, depth=1, n_layers=2, key=0)
    steep = eqx.tree_at(_bound, flow, jnp.asarray([0.9, 1.2]))
    row = next(row for row in pf.check(steep).rows if "Lipschitz" in row.name)
    assert row.ok is False


def test_save_rejects_uncertified_bounds(tmp_path):
    flow = pf.residual_flow(dim=2, width=4, depth=1, n_layers=2, key=0)
    unbounded = eqx.tree_at(_weight, flow, replace_fn=lambda weight: weight * jnp.linspace(1.0, 9.0, 4)[None, None])
    with pytest.raises(ModelFileError, match=r"Lipschitz bound of .*finalise"):
        pf.save(tmp_path / "flow.safetensors", unbounded)
    finalised = finalise(unbounded)
    pf.save(tmp_path / "flow.safetensors", finalised)
    assert eqx.tree_equal(pf.load(tmp_path / "flow.safetensors"), finalised)


@pytest.mark.slow
def test_training_keeps_every_norm_below_its_bound():
    with jax.enable_x64(True):
        flow = pf.residual_flow(dim=2, width=16, depth=1, n_layers=3, lipschitz=0.97, key=0)
        x = np.random.default_rng(0).normal(size=(500, 2)) ** 3
        fitted, _ = pf.fit(flow, x, key=0, max_epochs=20, learning_rate=2e-2, start="given", progress=False)
        layers = fitted.bijection.bijections[0].layers.bijections[0].bijection.network.layers
        for layer in layers:
            assert (np.linalg.norm(np.asarray(layer.weight), 2, axis=(1, 2)) <= layer.coefficient + 1e-9).all()
        assert (bounds_in(fitted)[0] <= 0.97 + 1e-9).all()
        np.testing.assert_array_equal(bounds_in(certify(fitted))[0], bounds_in(fitted)[0])
        samples = fitted.sample(100, key=1)
        z, _ = jax.vmap(fitted.bijection.inverse_and_log_det)(samples)
        again, _ = jax.vmap(fitted.bijection.forward_and_log_det)(z)
        np.testing.assert_allclose(again, samples, atol=1e-6)


@pytest.mark.parametrize(("shape", "kernel"), [((4, 5), 3), pytest.param((4, 4), 1, marks=pytest.mark.slow)])
def test_convolution_norm_is_at_most_certified(shape, kernel):
    with jax.enable_x64(True):
        layer = LipschitzConv(shape, 2, 3, kernel_size=kernel, coefficient=0.7, key=jax.random.key(0))
        noise = jnp.cos(jnp.arange(layer.right.size)).reshape(layer.right.shape)
        noisy = eqx.tree_at(lambda conv: conv.right, layer, layer.right + noise)
        renew = eqx.filter_jit(refresh)
        for _ in range(100):
            noisy = renew(noisy)
        np.testing.assert_allclose(noisy.norm(), layer.norm(), rtol=1e-4)
        np.testing.assert_allclose(layer.norm(), layer.certified_norm(layer.weight), rtol=1e-9)
        finalised = finalise(layer)
        matrix = jax.jacfwd(lambda x: finalised(x.reshape(*shape, 2)).reshape(-1))(jnp.zeros(2 * shape[0] * shape[1]))
        true = np.linalg.norm(matrix, 2)
        assert true <= finalised.certified() <= 0.7 + 1e-9
        assert kernel > 1 or true >= finalised.certified() - 1e-9


@pytest.mark.slow
def test_convolution_norm_is_followed_at_every_frequency():
    """A vector at one frequency stays there, so the norm estimate must follow all frequencies."""
    layer = LipschitzConv((6, 6), 2, 3, kernel_size=3, coefficient=0.7, key=jax.random.key(0))
    signs = (-1.0) ** jnp.add.outer(jnp.arange(3), jnp.arange(3))
    for pattern in (jnp.ones((3, 3)), signs, jnp.array([[1.0, 0, -1]] * 3)):
        grown = eqx.tree_at(lambda conv: conv.weight, layer, layer.weight + 2 * pattern[..., None, None])
        for _ in range(5):
            grown = refresh(grown)
        np.testing.assert_allclose(grown.norm(), grown.certified_norm(grown.weight), rtol=1e-2)


@pytest.mark.slow
def test_fit_returns_the_validated_density():
    """Certified norms replace estimates at the end of `fit`: the density remains that of the best epoch."""
    x = np.random.default_rng(0).integers(0, 8, (200, 6, 6, 1)) * np.arange(6)[:, None, None] // 5
    flow = pf.residual_flow_image((6, 6, 1), n_scales=1, n_layers=2, width=8, levels=8, lipschitz=0.9, key=0)
    flow, history = pf.fit(
        pf.Dequantised(flow, 8), x, key=0, validation=x[:50], max_epochs=30, learning_rate=1e-2, progress=False
    )
    assert max(history.validation) > history.start + 10
    # power iteration lags behind the last steps: a twentieth of what training gains; the fault this is for cost 19 nats
    np.testing.assert_allclose(np.mean(flow.log_prob(x[:50])), max(history.validation), atol=1.0)


def test_scores_do_not_depend_on_the_batch():
    """Estimated in 70 coordinates: equal for any order and batch, and near the exact scores."""
    flow = pf.residual_flow(dim=70, width=16, depth=1, n_layers=2, key=0)
    x = np.random.default_rng(0).normal(size=(40, 70)).astype(np.float32)
    scores = np.asarray(flow.log_prob(x))
    np.testing.assert_array_equal(scores, flow.log_prob(x))
    np.testing.assert_allclose(np.asarray(flow.log_prob(x[::-1]))[::-1], scores, rtol=1e-5)
    np.testing.assert_allclose(flow.log_prob(x[7]), scores[7], rtol=1e-5)
    mean, error = flow.log_prob_with_error(x)
    assert (np.asarray(error) > 0).all()
    assert np.abs(np.asarray(mean) - scores).mean() < 20 * np.asarray(error).mean()


@pytest.mark.slow
def test_estimated_flow_passes_check():
    certificate = pf.check(pf.residual_flow(dim=70, width=16, depth=1, n_layers=2, key=0))
    assert certificate.ok, str(certificate)


def test_memory_does_not_grow_with_the_terms():
    def bytes_at(n_terms):
        block = Contractive(LipschitzMLP(20, width=32, depth=1, lipschitz=0.9, key=jax.random.key(0)),
                            training=PowerSeries(n_terms))  # fmt: skip
        trained, rest = eqx.partition(block, pf.trainable(block))

        def loss(trained, z, keys):
            block = eqx.combine(trained, rest)
            return jnp.mean(jax.vmap(lambda z, key: block.forward_and_log_det(z, key=key)[1])(z, keys))

        keys = jax.random.split(jax.random.key(0), 64)
        program = jax.jit(jax.grad(loss)).lower(trained, jnp.ones((64, 20)), keys).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert bytes_at(80) == bytes_at(20) == bytes_at(5)


def _bound(flow):
    return flow.bijection.bijections[0].layers.bijections[0].bijection.network.bound


def _weight(flow):
    return flow.bijection.bijections[0].layers.bijections[0].bijection.network.layers[0].weight


def contractive(index=0, **options):
    network = LipschitzMLP(3, width=4, depth=1, lipschitz=0.9, context_size=2, key=jax.random.key(index))
    return Contractive(network, **options)


def convolutional():
    return Contractive(LipschitzConvNet((2, 2, 1), width=2, depth=1, lipschitz=0.9, key=jax.random.key(0)))


TWICE = {
    "dense": contractive,
    "convolutional": convolutional,
    "repeated": lambda: Repeat([contractive(0), contractive(1)]),
}


@pytest.mark.parametrize("verb", METHODS)
@pytest.mark.slow
@pytest.mark.parametrize("kind", TWICE)
def test_derivatives_agree_with_differences(kind, verb):
    check_derivatives(TWICE[kind](), verb)


@pytest.mark.slow
def test_derivatives_of_a_fixed_point_in_a_loop():
    """x = tanh(w x + z) in a scan: a rule that JAX inlines there would give the derivative of the search, or zero."""

    def chained(w, z, _):
        def step(z, w):
            fn = lambda weights, x: jnp.tanh(weights[0] * x) + weights[1]  # noqa: E731
            return fixed_point_of(fn, (w, z), z, jnp.asarray(0.9), 2.0).value, None

        return (jnp.sin(jax.lax.scan(step, z, w)[0]),)

    with double():
        check_derivatives_of(chained, (jnp.array([0.3, 0.7]), jnp.array([[0.2, -0.4]]), None))


@pytest.mark.parametrize(
    "estimator", [pytest.param(PowerSeries(3), marks=pytest.mark.slow), RussianRoulette(n_exact=2)]
)
def test_second_derivatives_of_an_estimate_are_those_of_its_gradient_or_raise(estimator):
    """The estimated gradient is not the gradient of a function: its Jacobian is not symmetric."""
    with double():
        network = LipschitzMLP(3, width=4, depth=1, lipschitz=0.9, key=jax.random.key(0))

        def gradient(points):
            value = lambda z: estimator(network, z, None, jax.random.key(1))[1]  # noqa: E731
            return jax.grad(lambda points: jnp.sum(jax.lax.map(jax.vmap(value), points)))(points)

        points, weights = (
            jnp.array([[[0.3, -0.8, 0.5], [1.0, 0.2, 0.0]]]),
            jnp.array([[[1.0, 2.0, -1.0], [0.5, 1.0, 3.0]]]),
        )
        direction, first = jnp.cos(points), jax.jit(gradient)
        right = (first(points + 1e-5 * direction) - first(points - 1e-5 * direction)) / 2e-5
        got = jax.jit(lambda points: jax.jvp(gradient, (points,), (direction,))[1])(points)
        np.testing.assert_allclose(got, right, rtol=1e-6, atol=1e-6)
        reverse = jax.jit(jax.grad(lambda points: jnp.vdot(weights, gradient(points))))
        if isinstance(estimator, RussianRoulette):
            with pytest.raises(NotImplementedError, match="scoring=Exact"):
                reverse(points)
        else:
            np.testing.assert_allclose(jnp.vdot(reverse(points), direction), jnp.vdot(weights, right), rtol=1e-6)


class _Refusing(AbstractLogDet):
    def __call__(self, network, z, context, key, *, is_shared=False):
        raise AssertionError("a log-determinant was computed")


@pytest.mark.parametrize("shape", [(3,), (4, 4, 1)], ids=str)
def test_samples_alone_compute_no_log_determinant(shape):
    """Also inside stacks: an estimate costs many times the sample."""
    sizes = {"n_layers": 2, "width": 8, "key": 0}
    flow = pf.residual_flow(3, **sizes) if len(shape) == 1 else pf.residual_flow_image(shape, n_scales=1, **sizes)

    def is_block(node):
        return isinstance(node, Contractive)

    def refuse(node):
        return eqx.tree_at(lambda block: block.scoring, node, _Refusing()) if is_block(node) else node

    refusing = jax.tree.map(refuse, flow, is_leaf=is_block)
    samples, _ = flow.sample_and_log_prob(4, key=0)
    np.testing.assert_allclose(refusing.sample(4, key=0), samples, rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError, match="log-determinant"):
        refusing.sample_and_log_prob(4, key=0)
