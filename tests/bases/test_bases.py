"""Base distributions: comparison with SciPy, gradients, conditioning, saving, errors."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampling import quick_few
from scipy import stats

import pushforward as pf
from pushforward import bases
from pushforward.bijections import Affine, Elementwise
from pushforward.core.fields import count_parameters
from pushforward.errors import DataError, ShapeError

COVARIANCE = np.array([[2.0, -0.6, 0.3], [-0.6, 1.0, 0.2], [0.3, 0.2, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])
WEIGHTS = np.array([0.2, 0.5, 0.3])
MODES = (-3.0, 0.0, 2.0)
LARGEST = float(jnp.finfo(jnp.result_type(float)).max)
N = 20_000
# Dvoretzky, Kiefer & Wolfowitz with Massart's constant: P(sup |F_n - F| > band) <= 2 exp(-2 n band^2) = 1e-7 for each
# of the 30 or so projections below. Sees a defect of 0.021 in a distribution function.
BAND = math.sqrt(math.log(2.0 / 1e-7) / (2 * N))


class Independent:
    """Independent coordinates, one frozen SciPy distribution each."""

    def __init__(self, *coordinates):
        self.coordinates = coordinates

    def logpdf(self, x):
        return sum(c.logpdf(x[:, i]) for i, c in enumerate(self.coordinates))

    def levels(self, x):
        return np.stack([c.cdf(x[:, i]) for i, c in enumerate(self.coordinates)], 1)


class Correlated:
    """The multivariate normal by SciPy; its levels use the eigendecomposition, not the Cholesky factor."""

    def logpdf(self, x):
        return stats.multivariate_normal(MEAN, COVARIANCE).logpdf(x)

    def levels(self, x):
        values, vectors = np.linalg.eigh(COVARIANCE)
        return stats.norm.cdf((x - MEAN) @ vectors / np.sqrt(values))


class Mixed:
    """A mixture of one-dimensional SciPy distributions."""

    def __init__(self, *parts, weights=WEIGHTS):
        self.parts, self.weights = parts, weights

    def logpdf(self, x):
        pairs = zip(self.weights, self.parts, strict=True)
        return np.logaddexp.reduce([np.log(weight) + part.logpdf(x[:, 0]) for weight, part in pairs])

    def levels(self, x):
        return sum(w * p.cdf(x) for w, p in zip(self.weights, self.parts, strict=True))


def modes() -> bases.Mixture:
    return bases.Mixture([bases.MultivariateNormal(1, loc=m, covariance=np.eye(1) * 0.25) for m in MODES], WEIGHTS)


def heterogeneous() -> bases.Mixture:
    parts = [bases.Normal((1,), scale=0.1), bases.StudentT((1,), 2.0), bases.Uniform((1,), -4.0, -3.0)]
    return bases.Mixture(parts, WEIGHTS)


def blocks() -> bases.Product:
    # Two parts of one class: with a shared key they would be equal functions of it.
    return bases.Product([bases.StudentT((1,), 1.5), bases.StudentT((1,), 30.0), bases.Logistic((1,), 1.0, 2.0)])


# name: the base, its oracle, and test points (tails where the densities of SciPy are accurate)
LINE = np.array([-50.0, -7.0, -3.5, -1.0, -1e-3, 0.0, 0.3, 1.0, 2.0, 8.0, 1e3])
CASES = {
    "Normal": (
        lambda: bases.Normal((2,), np.array([1.0, 0.0]), np.array([2.0, 0.7])),
        Independent(stats.norm(1.0, 2.0), stats.norm(0.0, 0.7)), LINE,
    ),
    "MultivariateNormal": (lambda: bases.MultivariateNormal(3, MEAN, COVARIANCE), Correlated(), LINE),
    "Uniform": (
        lambda: bases.Uniform((2,), np.array([-1.0, 0.0]), 3.0),
        Independent(stats.uniform(-1.0, 4.0), stats.uniform(0.0, 3.0)), LINE,
    ),
    "Logistic": (lambda: bases.Logistic((1,), 1.0, 0.5), Independent(stats.logistic(1.0, 0.5)), LINE),
    "StudentT": (
        lambda: bases.StudentT((3,), np.array([0.7, 1.0, 40.0]), loc=1.0, scale=2.0),
        Independent(*(stats.t(nu, 1.0, 2.0) for nu in (0.7, 1.0, 40.0))), np.append(LINE, [1e8, -1e15]),
    ),
    "TruncatedNormal": (
        lambda: bases.TruncatedNormal((3,), np.array([-1.0, 0.5, -math.inf]), np.array([2.0, math.inf, math.inf])),
        Independent(stats.truncnorm(-1.0, 2.0), stats.truncnorm(0.5, np.inf), stats.norm()), LINE,
    ),
    "TruncatedNormal far out": (
        lambda: bases.TruncatedNormal((2,), np.array([20.0, -13.0]), np.array([math.inf, -12.0]), scale=1.0),
        Independent(stats.truncnorm(20.0, np.inf), stats.truncnorm(-13.0, -12.0)),
        np.array([[20.0, -12.0], [20.3, -12.5], [21.0, -13.0], [21.0, 0.0]]),
    ),
    "Mixture": (modes, Mixed(*(stats.norm(m, 0.5) for m in MODES)), LINE),
    "Mixture of unlike parts": (heterogeneous, Mixed(stats.norm(0, 0.1), stats.t(2.0), stats.uniform(-4.0, 1.0)), LINE),
    "Ensemble": (
        lambda: pf.Ensemble([bases.MultivariateNormal(1, loc=m, covariance=np.eye(1) * 0.25) for m in MODES]),
        Mixed(*(stats.norm(m, 0.5) for m in MODES), weights=np.full(3, 1 / 3)), LINE,
    ),
    "Product": (blocks, Independent(stats.t(1.5), stats.t(30.0), stats.logistic(1.0, 2.0)), LINE),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", CASES)


def points_of(name: str) -> np.ndarray:
    """Test points: equal coordinates, then points with rolled coordinates."""
    build, _, points = CASES[name]
    if points.ndim == 2:
        return points
    dim = build().shape[0]
    mixed = np.stack([np.roll(points, i) for i in range(dim)], 1)
    return np.concatenate([np.repeat(points[:, None], dim, 1), mixed])


@EACH
def test_log_prob_matches_scipy(name):
    build, oracle, _ = CASES[name]
    x = points_of(name)
    with np.errstate(divide="ignore"):
        expected = oracle.logpdf(x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(build().log_prob(x), expected, rtol=1e-12, atol=1e-12)
    with jax.enable_x64(False):
        # 50 roundings; near the ends of an interval, 1e-6 of a density's exponent (x^2 / 2 at 20 is 200)
        np.testing.assert_allclose(build().log_prob(x), expected, rtol=3e-6, atol=3e-5)


@EACH
def test_samples_follow_the_distribution_and_log_prob_matches(name):
    build, oracle, _ = CASES[name]
    base = build()
    x, log_prob = base.sample_and_log_prob(N, key=7)
    assert x.dtype == log_prob.dtype == jnp.result_type(float)
    levels = oracle.levels(np.asarray(x, np.float64))
    increasing = np.sort(levels, 0)
    steps = np.arange(N + 1) / N
    distance = np.maximum(np.abs(steps[1:, None] - increasing), np.abs(steps[:-1, None] - increasing)).max(0)
    assert (distance < BAND).all(), distance
    for u in (levels, np.abs(levels - 0.5)):  # coordinates are independent, and so are their distances from the median
        correlations = np.corrcoef(u, rowvar=False) - np.eye(u.shape[1])
        assert np.abs(correlations).max() < 5 / math.sqrt(N)  # five standard errors: false alarm 6e-7 for a pair
    expected = base.log_prob(x)
    tolerance = 1e-10 if x.dtype == jnp.float64 else 2e-4  # rounding of x changes x^2 / 2 at x = 20
    np.testing.assert_allclose(log_prob, expected, rtol=tolerance, atol=tolerance)


def test_uniform_includes_its_bounds_and_contains_its_samples():
    base = bases.Uniform((2,), 0.1, 0.7)
    edge = np.float32([0.1, 0.7])
    assert np.isfinite(base.log_prob(np.stack([base.low, base.high]))).all()
    assert base.log_prob(np.nextafter(edge[[1, 1]], np.float32(1))) == -np.inf
    narrow = bases.Uniform((1,), 1000.0, 1000.0001)  # two steps of float32 wide
    x = np.asarray(narrow.sample(500, key=0))
    assert ((x >= np.asarray(narrow.low)) & (x <= np.asarray(narrow.high))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_student_t_is_accurate_for_many_degrees_of_freedom(dtype):
    dof, x = np.array([0.51, 3.0, 200.0, 1e4, 1e6]), np.array([0.5, -2.0, 4.0, 3.0, -1.0])
    with jax.enable_x64(dtype == "float64"):
        base = bases.StudentT((5,), dof)
        value_and_grad = jax.jit(jax.value_and_grad(lambda base, x: base.log_prob_one(x, None, None)))
        got, gradient = value_and_grad(base, jnp.asarray(x))
        rtol = 1e-12 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(base.dof, dof, rtol=rtol)
        # SciPy subtracts two log-gamma values, with an error of 1e-16 * 6e6 at a million
        np.testing.assert_allclose(got, stats.t(dof).logpdf(x).sum(), rtol=max(rtol, 3e-10))
        assert np.isfinite(gradient.raw_dof).all()


def test_samples_are_differentiable_in_the_degrees_of_freedom():
    # At a fixed key the derivative of E[log(1 + x^2)] is the mean of the derivatives: compared with quadrature.
    def mean_growth(nu: float) -> float:
        levels = (np.arange(20_000) + 0.5) / 20_000
        return float(np.log1p(stats.t(nu).ppf(levels) ** 2).mean())

    base = bases.StudentT((1,), 3.0)
    keys = jax.random.split(jax.random.key(5), N)

    def growth(raw: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.log1p(eqx.tree_at(lambda b: b.raw_dof, base, raw).sample_and_log_prob_one(key, None)[0] ** 2)[0]

    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(growth), (None, 0)))(base.raw_dof, keys))[:, 0]
    d_nu = float(jax.nn.sigmoid(base.raw_dof[0]))
    expected = (mean_growth(3.01) - mean_growth(2.99)) / 0.02 * d_nu
    assert abs(slopes.mean() - expected) < 5 * slopes.std() / math.sqrt(N)  # five standard errors
    assert abs(expected) > 20 * slopes.std() / math.sqrt(N)  # so that a missing gradient would fail


@EACH
def test_gradients_of_trained_leaves_are_nonzero_and_finite(name):
    with jax.enable_x64(False):
        base = CASES[name][0]()
    moderate = points_of(name)[:12]
    trained, rest = eqx.partition(base, pf.trainable(base))

    @jax.jit
    def figures(trained, moderate, hostile):
        one = lambda trained, x: eqx.combine(trained, rest).log_prob_one(x, None, None)  # noqa: E731
        mean = lambda trained: jnp.mean(jax.vmap(one, (None, 0))(trained, moderate))  # noqa: E731
        return jax.grad(mean)(trained), jax.vmap(jax.value_and_grad(one, 1), (None, 0))(trained, hostile)

    sizes = np.array([0.0, 1e-30, 1e3, 1e15, 1e30])
    hostile = np.concatenate([sizes, -sizes])[:, None] * np.ones(base.shape)
    with jax.enable_x64(False):
        gradients, (values, x_gradients) = figures(trained, jnp.float32(moderate), jnp.float32(hostile))
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all()
        assert (np.asarray(leaf) != 0).any() or leaf.size == 0  # a 1 x 1 factor has no entries below the diagonal
    assert (np.asarray(values) < np.inf).all()  # neither NaN nor inf
    assert np.isfinite(np.asarray(x_gradients)[np.isfinite(values)]).all()
    untrained = {"Normal", "Uniform", "Logistic", "TruncatedNormal", "TruncatedNormal far out"}
    assert (count_parameters(base) == 0) == (name in untrained)


def test_student_t_is_finite_near_the_largest_float32():
    with jax.enable_x64(False):
        log_prob = bases.StudentT((1,), 3.0).log_prob(np.array([[1e30], [-3e38]]))
    np.testing.assert_allclose(log_prob, stats.t(3.0).logpdf(np.array([1e30, -3e38])), rtol=1e-5)


@pytest.mark.parametrize("name", ["Mixture of unlike parts", "conditional"])
def test_the_density_integrates_to_one(name):
    base = conditional(bases.StudentT((1,), 4.0)) if name == "conditional" else heterogeneous()
    # x = sinh(u) reaches both tails; 40,001 points resolve the steps of the uniform part to 1e-3 of its mass
    u = np.linspace(-12.0, 12.0, 40_001)
    with jax.enable_x64(True):
        base = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if eqx.is_array(leaf) else leaf, base)
        context = None if base.context_shape is None else np.array([0.3, -0.5])
        density = np.exp(base.log_prob(np.sinh(u)[:, None], context)) * np.cosh(u)
    assert abs(np.trapezoid(density, u) - 1.0) < 2e-3


def conditional(base, seed: int = 0) -> bases.ConditionalBase:
    """The base with a small network of random weights."""
    network = pf.networks.MLP(2, (count_parameters(base),), width=4, depth=1, key=jax.random.key(seed))
    weight = np.random.default_rng(seed).normal(size=network.out_weight.shape)
    network = eqx.tree_at(lambda n: n.out_weight, network, jnp.asarray(weight, network.out_weight.dtype))
    return bases.ConditionalBase(base, network, context_shape=(2,))


def test_network_output_is_added_to_the_leaves_in_order():
    base = conditional(bases.MultivariateNormal(2, MEAN[:2], COVARIANCE[:2, :2]))
    context, x = np.array([[0.5, -1.0], [2.0, 0.1]]), np.array([[0.2, 0.4], [-1.0, 3.0]])
    shifts = np.stack([base.network(jnp.asarray(c, jnp.result_type(float))) for c in context]).astype(np.float64)
    expected = []
    for shift, point in zip(shifts, x, strict=True):
        diagonal = np.logaddexp(0.0, np.asarray(base.base.diagonal) + shift[2:4]) + 1e-3
        factor = np.array([[diagonal[0], 0.0], [float(base.base.below[0]) + shift[4], diagonal[1]]])
        normal = stats.multivariate_normal(MEAN[:2] + shift[:2], factor @ factor.T)
        expected.append(normal.logpdf(point))
    np.testing.assert_allclose(base.log_prob(x, context), expected, rtol=1e-4)
    samples, log_prob = base.sample_and_log_prob(5, key=0, context=context)
    assert samples.shape == (5, 2, 2)
    np.testing.assert_allclose(log_prob, base.log_prob(samples, context), rtol=1e-4, atol=1e-4)


def test_mixtures_and_products_of_conditional_parts_are_conditional():
    parts = [conditional(bases.StudentT((1,), 4.0), seed) for seed in (0, 1)]
    fixed, context = bases.Normal((1,)), np.array([1.0, -0.5])
    x = np.array([[0.7, -1.2]])
    log_probs = [float(part.log_prob(x[0, :1], context)) for part in parts]
    mixture = bases.Mixture([*parts, fixed])
    expected = np.logaddexp.reduce([*log_probs, float(fixed.log_prob(x[0, :1]))]) - math.log(3)
    np.testing.assert_allclose(mixture.log_prob(x[0, :1], context), expected, rtol=1e-5)
    product = bases.Product([parts[0], fixed])
    expected = log_probs[0] + float(fixed.log_prob(x[0, 1:]))
    np.testing.assert_allclose(product.log_prob(x, context), [expected], rtol=1e-5)
    assert mixture.context_shape == product.context_shape == (2,)
    assert mixture.sample(3, key=0, context=context).shape == (3, 1)
    with pytest.raises(ShapeError, match="needs a context"):
        product.log_prob(x)


def test_a_mixture_of_affine_flows_is_a_mixture_of_normals():
    parts = [pf.Flow(bases.Normal((2,)), Elementwise(Affine(m, 0.5), (2,))) for m in (-1.0, 1.0)]
    base = bases.Mixture(parts)
    x = np.array([[0.3, -0.4]])
    expected = np.logaddexp.reduce([stats.norm(m, 0.5).logpdf(x).sum() for m in (-1.0, 1.0)]) - math.log(2)
    np.testing.assert_allclose(base.log_prob(x), [expected], rtol=1e-5)
    assert count_parameters(base) == 2 * (2 * 2) + 2


def test_mixtures_of_equal_and_unlike_components_agree():
    # Two normals under one vmap, and in sequence with a third of negligible weight and another structure.
    pair = [bases.MultivariateNormal(1, loc=m) for m in (-1.0, 1.0)]
    stacked, sequential = bases.Mixture(pair), bases.Mixture([*pair, bases.Normal((1,))], np.array([1.0, 1.0, 1e-30]))
    x = np.linspace(-3.0, 3.0, 7)[:, None]
    np.testing.assert_allclose(stacked.log_prob(x), sequential.log_prob(x), rtol=1e-5)


@pytest.mark.parametrize(
    "name", quick_few([*CASES, "conditional"], "Product", "Mixture of unlike parts", "conditional")
)
def test_saved_and_loaded_leaves_are_equal(name, tmp_path):
    base = conditional(bases.StudentT((1,), 4.0)) if name == "conditional" else CASES[name][0]()
    pf.save(tmp_path / "base", base)
    again = pf.load(tmp_path / "base")
    assert jax.tree.structure(again) == jax.tree.structure(base)
    for left, right in zip(jax.tree.leaves(again), jax.tree.leaves(base), strict=True):
        np.testing.assert_array_equal(left, right)


def test_bases_can_be_built_inside_jit():
    @jax.jit
    def log_probs(x):
        built = [bases.Uniform((1,), -9.0, 9.0), bases.TruncatedNormal((1,), -9.0), bases.MultivariateNormal(1)]
        return jnp.stack([base.log_prob(x) for base in built])

    assert np.isfinite(log_probs(jnp.ones((2, 1)))).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: bases.Normal((2,), scale=0.0), "scale: expected positive numbers, got 0.0"),
        (lambda: bases.Normal((2,), loc=math.nan), "loc: expected finite numbers"),
        (lambda: bases.Normal((2,), loc=np.zeros(3)), r"loc: .* an array of shape \(2,\), got \(3,\)"),
        (lambda: bases.Logistic((2,), scale=-1.0), "scale: expected positive numbers"),
        (lambda: bases.Logistic((0,)), "shape: expected a tuple of positive sizes"),
        (lambda: bases.Uniform((2,), 1.0, 1.0), r"low < high .* got 1 and 1 at coordinate \(0,\)"),
        (lambda: bases.Uniform((1,), -LARGEST, LARGEST), "finite difference"),
        (lambda: bases.StudentT((1,), 0.4), "dof: expected numbers above min_dof = 0.5, got 0.4. Lower min_dof"),
        (lambda: bases.StudentT((1,), min_dof=0.0), "min_dof: expected a positive number"),
        (lambda: bases.TruncatedNormal((1,), 2.0, 1.0), "low, high: expected low < high"),
        (lambda: bases.TruncatedNormal((1,), 50.0), "no mass between 50.0 and inf. Move loc"),
        (lambda: bases.MultivariateNormal(0), "dim: expected at least 1"),
        (lambda: bases.MultivariateNormal(2, covariance=np.eye(3)), r"covariance: expected shape \(2, 2\)"),
        (lambda: bases.MultivariateNormal(2, covariance=np.array([[1.0, 2.0], [0.0, 1.0]])), "expected a symmetric"),
        (lambda: bases.MultivariateNormal(2, covariance=np.ones((2, 2)) - 2 * np.eye(2)), "positive definite .* least"),
        (lambda: bases.MultivariateNormal(1, covariance=np.eye(1) * 1e-8), "above min_scale = 0.001"),
        (lambda: bases.MultivariateNormal(1, min_scale=0.0), "min_scale: expected a positive number"),
        (lambda: bases.Mixture([]), "components: expected at least one"),
        (lambda: bases.Mixture([bases.Normal((1,)), bases.Normal((2,))]), "all of one shape"),
        (lambda: bases.Mixture([bases.Normal((1,))], np.array([0.0])), "weights: expected positive numbers"),
        (lambda: bases.Mixture([bases.Normal((1,))], np.array([1.0, 2.0])), r"weights: .* shape \(1,\), got \(2,\)"),
        (lambda: bases.Product([]), "parts: expected at least one"),
        (lambda: bases.Product([bases.Normal((2, 2))]), "each of vectors"),
        (lambda: bases.ConditionalBase(bases.Normal((1,)), abs, (2,)), "Normal has no trained leaves"),
        (lambda: bases.ConditionalBase(bases.StudentT((1,)), abs, (2,)), r"output of shape \(1,\) .* got \(2,\)"),
        (lambda: bases.ConditionalBase(conditional(bases.StudentT((1,))), abs, (2,)), "is conditional"),
    ],
)  # fmt: skip
def test_invalid_arguments_raise(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_invalid_data_raise():
    base = modes()
    with pytest.raises(DataError, match="row 1, column 0"):
        base.log_prob(np.array([[0.0], [math.nan]]))
    with pytest.raises(ShapeError, match=r"np.asarray\(x\)\[:, None\]"):
        base.log_prob(np.zeros(4))
    with pytest.raises(ShapeError, match="unconditional"):
        base.log_prob(np.zeros((4, 1)), np.zeros(2))
