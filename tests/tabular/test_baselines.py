"""The baselines against closed forms and direct sums."""

from functools import partial

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from pushforward.errors import DataError, ShapeError
from pushforward.tabular import baselines
from pushforward.tabular.baselines import gaussian, gaussian_mixture, kernel_density
from pushforward.train.data import Rows, gaussian_log_likelihood

ALL = (gaussian, gaussian_mixture, kernel_density)
MIX = np.array([[2.0, 0.3, 0.0], [0.0, 0.5, 0.1], [0.0, 0.0, 30.0]])


def normal_parts(seed: int, rows: int = 600, shift: float = 7.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((rows, 3)) @ MIX + shift for _ in range(3)]


def test_gaussian_matches_the_closed_form() -> None:
    train, validation, test = normal_parts(0)
    result = gaussian(train, validation, test)
    covariance = np.cov(train, rowvar=False, ddof=0)
    residual = test - train.mean(axis=0)
    energy = np.einsum("ni,ij,nj->n", residual, np.linalg.inv(covariance), residual)
    log_probs = -0.5 * (energy + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert result.test_log_likelihood == pytest.approx(log_probs.mean(), abs=1e-10)
    assert result.standard_error == pytest.approx(log_probs.std(ddof=1) / np.sqrt(600), abs=1e-12)
    # the mean over the training rows equals the entropy formula
    own = gaussian(train, train, train).test_log_likelihood
    assert own == pytest.approx(-0.5 * (3 + np.linalg.slogdet(2 * np.pi * covariance)[1]), abs=1e-10)


def test_mixture_of_one_component_is_the_gaussian() -> None:
    parts = normal_parts(1)
    assert gaussian_mixture(*parts, components=(1,)).test_log_likelihood == pytest.approx(
        gaussian(*parts).test_log_likelihood, abs=1e-4
    )


def test_mixture_reports_two_components_for_two_clusters() -> None:
    random = np.random.default_rng(2)
    parts = [
        np.where(random.random((1_000, 1)) < 0.5, -50.0, 50.0) + random.standard_normal((1_000, 2)) for _ in range(3)
    ]
    result = gaussian_mixture(*parts, components=(1, 2))
    assert result.setting == "2 components, of 1, 2 tried"
    entropy = np.log(2) + 1 + np.log(2 * np.pi)
    assert (
        abs(result.test_log_likelihood + entropy) < 5 * result.standard_error + 0.02
    )  # 11 fitted parameters cost 11/2000 nats
    assert result.test_log_likelihood > gaussian(*parts).test_log_likelihood + 2
    stopped = gaussian_mixture(*normal_parts(3), components=(9,), max_iter=1)
    assert "stopped after 1 steps" in stopped.setting


def test_mixture_score_matches_scikit_learn() -> None:
    train, validation, test = normal_parts(4)
    centre, spread = train.mean(axis=0), train.std(axis=0)
    peer = GaussianMixture(3, random_state=0, max_iter=300).fit((train - centre) / spread)
    expected = peer.score((test - centre) / spread) - np.log(spread).sum()
    result = gaussian_mixture(train, validation, test, components=(3,), max_iter=300)
    assert result.test_log_likelihood == pytest.approx(expected, abs=1e-9)


def test_kernel_scores_match_the_direct_sum() -> None:
    random = np.random.default_rng(5)
    centres, x = random.standard_normal((700, 4)), 3 * random.standard_normal((90, 4))
    widths = 2.0 ** np.arange(1.0, -4.5, -0.5)
    direct = baselines._kernel_scores(centres, x, widths)
    np.testing.assert_allclose(baselines._kernel_scores(centres, x, widths, halving=True), direct, rtol=1e-9)
    for width, scores in zip(widths, direct, strict=True):
        constant = np.log(700) + 4 * (np.log(width) + 0.5 * np.log(2 * np.pi))
        expected = logsumexp(-0.5 * cdist(x, centres, "sqeuclidean") / width**2, axis=1) - constant
        np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_kernel_scores_do_not_depend_on_the_block_size(monkeypatch) -> None:
    random = np.random.default_rng(6)
    centres, x = random.standard_normal((50, 2)), random.standard_normal((33, 2))
    scores = baselines._kernel_scores(centres, x, np.array([0.3]))
    monkeypatch.setattr(baselines, "_BLOCK_ELEMENTS", 150)
    np.testing.assert_allclose(baselines._kernel_scores(centres, x, np.array([0.3])), scores, rtol=1e-12)


def test_kernel_bandwidth_is_near_the_best_for_a_normal() -> None:
    """For a normal in one dimension h = 1.06 n^(-1/5) has the least squared error; the likelihood's choice is near."""
    random = np.random.default_rng(7)
    parts = [random.standard_normal((2_000, 1)) for _ in range(3)]
    result = kernel_density(*parts)
    width = float(result.setting.split()[1])
    assert 0.5 < width / (1.06 * 2_000**-0.2) < 2
    assert abs(result.test_log_likelihood + 0.5 * (1 + np.log(2 * np.pi))) < 5 * result.standard_error + 0.01


@pytest.mark.parametrize("baseline", [gaussian, partial(gaussian_mixture, components=(1, 2)), kernel_density])
def test_change_of_units_shifts_the_log_likelihood_by_the_log_determinant(baseline) -> None:
    parts = normal_parts(8, rows=300)
    scale = np.array([1e-6, 4.0, 1e9])
    moved = [part * scale + 5.0 * scale for part in parts]
    first, second = baseline(*parts), baseline(*moved)
    assert second.test_log_likelihood == pytest.approx(first.test_log_likelihood - np.log(scale).sum(), abs=1e-6)
    assert second.standard_error == pytest.approx(first.standard_error, abs=1e-6)
    assert second.setting == first.setting
    assert first.fit_seconds > 0
    assert first.score_seconds > 0


@pytest.mark.parametrize("baseline", ALL)
def test_invalid_arrays_are_errors(baseline) -> None:
    train, validation, test = normal_parts(9, rows=20)
    with pytest.raises(ShapeError, match=r"test must have shape \(n, d\), one d for all parts, got \(20, 2\)"):
        baseline(train, validation, test[:, :2])
    with pytest.raises(ShapeError, match="train must have shape"):
        baseline(train[0], validation, test)
    with pytest.raises(DataError, match="validation has shape"):
        baseline(train, validation[:0], test)
    with pytest.raises(DataError, match="test holds NaN"):
        baseline(train, validation, test * np.nan)
    train[:, 1] = 0.1
    with pytest.raises(DataError, match=r"column 1 is 0\.1 in every row"):
        baseline(train, validation, test)


def test_singular_covariance_and_too_many_components_are_errors() -> None:
    train = np.arange(8.0)[:, None] * np.ones((1, 2))
    with pytest.raises(DataError, match="linear combination"):
        gaussian(train, train, train)
    with pytest.raises(DataError, match="between 1 and the 8 train rows"):
        gaussian_mixture(train, train, train, components=(9, 0))


def conditional_parts(seed: int, rows: int = 500) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """x depends nonlinearly on the first context; the second one is constant."""
    random, parts, contexts = np.random.default_rng(seed), [], []
    for _ in range(3):
        c = np.stack([random.uniform(-2, 2, rows), np.full(rows, 7.0)], 1)
        parts.append(np.stack([c[:, 0] ** 2, 5 * c[:, 0]], 1) + random.standard_normal((rows, 2)) * [0.3, 2.0])
        contexts.append(c)
    return parts, contexts


def test_conditional_gaussian_equals_the_baseline_of_fit() -> None:
    parts, contexts = conditional_parts(10)
    result = gaussian(*parts, contexts=contexts)
    train, _, test = (Rows(x, c[:, :1], None) for x, c in zip(parts, contexts, strict=True))
    assert result.test_log_likelihood == pytest.approx(gaussian_log_likelihood(train, test), abs=1e-6)
    assert result.setting == "linear in the context"
    one = gaussian_mixture(*parts, contexts=contexts, components=(1,)).test_log_likelihood
    assert one == pytest.approx(result.test_log_likelihood, abs=1e-3)


def test_nonlinear_dependence_on_the_context_needs_more_than_a_gaussian() -> None:
    parts, contexts = conditional_parts(11)
    line, mixture, kernels = (fit(*parts, contexts=contexts).test_log_likelihood for fit in ALL)
    assert mixture > line + 0.5
    assert kernels > line + 0.3


@pytest.mark.parametrize(
    ("fit", "step"), [(gaussian, 0.4), (partial(gaussian_mixture, components=(3,)), 0.2), (kernel_density, 0.1)]
)
def test_conditional_density_integrates_to_one(fit, step) -> None:
    parts, contexts = conditional_parts(12, 200)
    parts = [x[:, :1] for x in parts]
    for c in (-1.0, 0.5):
        # one row to a call: a mean log-density is then that of the row
        given = [*contexts[:2], np.array([[c, 7.0]])]
        log_probs = [
            fit(*parts[:2], np.array([[x]]), contexts=given).test_log_likelihood for x in np.arange(-3.0, 9.0, step)
        ]
        assert np.exp(log_probs).sum() * step == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("fit", ALL)
def test_linearly_dependent_contexts_change_nothing(fit) -> None:
    parts, contexts = conditional_parts(14)
    more = [np.hstack([c, 1.0 - 3.0 * c[:, :1]]) for c in contexts]
    assert fit(*parts, contexts=more).test_log_likelihood == fit(*parts, contexts=contexts).test_log_likelihood


def test_contexts_of_another_length_are_errors() -> None:
    parts, contexts = conditional_parts(13)
    with pytest.raises(ShapeError, match=r"contexts: expected 500 rows \(n, c\) for test, got \(3, 2\)"):
        gaussian(*parts, contexts=[*contexts[:2], contexts[2][:3]])
