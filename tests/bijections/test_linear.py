"""Linear layers against SciPy's Gaussians, closed-form maximum likelihood, and orthogonality; whitening."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampling import quick_few
from scipy import stats

import pushforward as pf
from pushforward.bijections import Cayley, Conditional, Householder
from pushforward.bijections.linear.orthogonal import _unit_rows
from pushforward.bijections.linear.triangular_solve import substitute
from pushforward.core.fields import count_parameters
from pushforward.networks import MLP
from pushforward.recipes.linear_flow import LINEAR_KINDS

EVERY_GAUSSIAN = ("triangular", "plu", "qr", "orthogonal", "cayley", "dense")


def perturbed(tree, seed=0, scale=0.3):
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(tree, pf.trainable(tree))
    shifted = jax.tree.map(lambda leaf: leaf + scale * random.normal(size=leaf.shape), trained)
    return eqx.combine(shifted, rest)


@pytest.mark.parametrize("is_conditional", [False, True])
@pytest.mark.parametrize("kind", quick_few(LINEAR_KINDS, "plu", "low_rank"))
def test_pushforward_of_a_gaussian_matches_scipy(kind, is_conditional):
    """N(m, S) under x = A z + b is N(A m + b, A S A^T)."""
    with jax.enable_x64(True):
        layer = LINEAR_KINDS[kind](4, 2, jax.random.key(1))
        context = None
        if is_conditional:
            network = MLP(3, (count_parameters(layer),), width=8, depth=1, key=jax.random.key(2))
            layer, context = Conditional(layer, network, (3,)), jnp.array([0.3, -1.0, 2.0])
        layer = perturbed(layer, scale=0.1 if is_conditional else 0.3)
        random = np.random.default_rng(3)
        root, mean = random.normal(size=(4, 4)), random.normal(size=4)
        covariance = root @ root.T + np.eye(4)
        flow = pf.Flow(pf.bases.MultivariateNormal(4, mean, covariance), layer, standardise_context=False)
        shift = np.asarray(layer.forward(jnp.zeros(4), context))
        matrix = np.asarray(jax.jacrev(layer.forward)(jnp.zeros(4), context))
        x = 3 * random.normal(size=(50, 4))
        exact = stats.multivariate_normal(matrix @ mean + shift, matrix @ covariance @ matrix.T).logpdf(x)
        np.testing.assert_allclose(flow.log_prob(x, context), exact, rtol=1e-10, atol=1e-10)


def correlated(n, dim, seed):
    """Samples of a Gaussian with correlations up to 0.9."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, dim)) @ (np.eye(dim) + 0.8 * np.tri(dim, k=-1)).T


def gaussian_maximum(x):
    """The mean log-likelihood of the samples at the closed-form maximum."""
    log_det = np.linalg.slogdet(np.cov(x.T, bias=True))[1]
    return -0.5 * (x.shape[1] * (1 + np.log(2 * np.pi)) + log_det)


@pytest.mark.parametrize(
    "kind",
    quick_few(EVERY_GAUSSIAN, "triangular", "plu", "cayley"),
)
def test_fitted_linear_flow_reaches_the_closed_form_maximum(kind):
    x = correlated(5000, 4, 0)
    flow, _ = pf.fit(pf.linear_flow(4, kind=kind, key=0), x, key=0, validation=0, max_epochs=80, progress=False)
    assert gaussian_maximum(x) - 1e-3 < float(np.mean(flow.log_prob(x))) < gaussian_maximum(x) + 1e-5


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e15])
def test_reflections_are_orthogonal_for_vectors_of_any_size(size):
    vectors = size * np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    vectors[2] = 0
    layer = eqx.tree_at(lambda h: h.vectors, Householder(4, 5, key=jax.random.key(0)), jnp.asarray(vectors))
    matrix = np.asarray(jax.jacrev(layer.forward)(jnp.ones(4)))
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(4), atol=2e-6)
    product = np.eye(4)
    for unit in np.asarray(_unit_rows(jnp.asarray(vectors)), np.float64):
        product = product @ (np.eye(4) - 2 * np.outer(unit, unit))
    np.testing.assert_allclose(matrix, product, atol=2e-6)


def test_cayley_is_a_rotation():
    matrix = np.asarray(jax.jacrev(perturbed(Cayley(5), scale=2.0).forward)(jnp.ones(5)))
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(5), atol=2e-6)
    assert np.linalg.det(matrix) > 0


@pytest.mark.parametrize("recipe", quick_few(("nsf", "real_nvp", "maf", "elementwise_flow"), "nsf"))
def test_whitened_recipes_start_at_the_gaussian_of_the_data(recipe):
    x = correlated(2000, 3, 1)
    make = getattr(pf, recipe)
    _, history = pf.fit(make(dim=3, whiten=True, key=0), x, key=0, validation=x, max_epochs=1, progress=False)
    assert abs(history.start - gaussian_maximum(x)) < 0.02
    assert history.best_validation >= history.start


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_thirty_samples_lose_little_to_their_gaussian_fit(seed):
    random = np.random.default_rng(100 + seed)
    root = np.eye(5) + 0.8 * np.tri(5, k=-1)
    x, test = (random.normal(size=(n, 5)) @ root.T for n in (30, 4000))
    exact = stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(test).mean()
    flow, _ = pf.fit(pf.nsf(dim=5, whiten=True, key=seed), x, key=seed, progress=False)
    assert float(np.mean(flow.log_prob(test))) > exact - 0.3


@pytest.mark.parametrize("n_rows", [3, 7])  # below five, the size of the matrix: a solve; above: a product
@pytest.mark.parametrize(("lower", "unit_diagonal"), [(True, False), (True, True), (False, False)])
def test_triangular_systems_of_a_batch(n_rows, lower, unit_diagonal):
    """Solutions and gradients match NumPy's dense system, for any number of right-hand sides."""
    random = np.random.default_rng(0)
    matrix, right, weights = random.normal(size=(5, 5)) + 3 * np.eye(5), *random.normal(size=(2, n_rows, 5))
    triangle = np.tril(matrix) if lower else np.triu(matrix)
    if unit_diagonal:
        np.fill_diagonal(triangle, 1.0)
    solution = np.linalg.solve(triangle, right.T).T

    def total(matrix, right):
        solve = lambda row: substitute(matrix, row, lower=lower, unit_diagonal=unit_diagonal)  # noqa: E731
        solutions = jax.vmap(solve)(right)
        return jnp.sum(solutions * weights), solutions

    with jax.enable_x64(True):
        (_, result), (matrix_gradient, right_gradient) = jax.value_and_grad(total, (0, 1), has_aux=True)(
            matrix, jnp.asarray(right)
        )
    np.testing.assert_allclose(result, solution, rtol=1e-12, atol=1e-13)
    adjoint = np.linalg.solve(triangle.T, weights.T).T
    np.testing.assert_allclose(right_gradient, adjoint, rtol=1e-12, atol=1e-13)
    outer = -adjoint.T @ solution
    mask = np.tri(5, k=-1 if unit_diagonal else 0, dtype=bool)
    np.testing.assert_allclose(matrix_gradient, np.where(mask if lower else mask.T, outer, 0), rtol=1e-12, atol=1e-13)
