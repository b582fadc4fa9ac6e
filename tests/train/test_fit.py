"""Maximum likelihood: results, seeds, units, compilation and options of `fit`. Flows are tiny."""

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from fitting import data, fit, flow_2d, numbers, same, trained_numbers
from scipy import stats
from sklearn.covariance import ledoit_wolf_shrinkage

import pushforward as pf
from pushforward.errors import DataError, ShapeError
from pushforward.train import epochs
from pushforward.train.data import Rows, gaussian_log_likelihood
from pushforward.train.prepare import PreparedRows

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(seconds) if event.endswith("backend_compile_duration") else None
)


# Results


def test_numpy_weights_are_trained():
    flow = flow_2d()
    numpy_flow = jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, flow)
    fitted = [fit(data(), start)[0] for start in (flow, numpy_flow)]
    for one, two in zip(*map(trained_numbers, fitted), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not all(np.array_equal(a, b) for a, b in zip(*map(trained_numbers, (flow, fitted[1])), strict=True))


def test_history_matches_the_fit():
    flow, history = fit(data(), max_epochs=3)
    assert history.n_train == 400
    assert history.n_validation == 64
    assert history.batch_size == 50
    assert {len(c) for c in (history.train, history.validation, history.seconds, history.learning_rate)} == {3}
    assert history.stop_reason == "finished"
    assert history.skipped_steps == 0
    assert history.best_epoch == int(np.argmax(history.validation))
    assert history.best_validation == max(history.validation)
    assert history.seconds == sorted(history.seconds)
    assert 0 <= history.compile_seconds < history.seconds[0]
    assert 2e-3 > history.learning_rate[0] > history.learning_rate[1] > history.learning_rate[2] >= 0
    assert history.to_dict()["best_epoch"] == history.best_epoch
    text = repr(history)
    assert text.startswith("History(n_train=400, n_validation=64, epochs=3, best_epoch=")
    assert "returned='trained')" in text
    assert len(text) < 250
    # the likelihoods are those of the flow returned, in the data's own units
    scores = np.asarray(flow.log_prob(data(64, 9)), np.float64)
    assert abs(scores.mean() - history.best_validation) < 1e-5


def test_the_likelihood_rises_and_the_original_is_unchanged():
    start = flow_2d()
    before = [leaf.copy() for leaf in numbers(start)]
    _, history = fit(data(), start, max_epochs=4, learning_rate=1e-2)
    assert history.train[-1] > history.train[0] + 0.05
    assert same(numbers(start), before)


def test_fitting_twice_continues_and_keeps_the_units():
    first, history = fit(data(), max_epochs=20, learning_rate=1e-2, validation=0)
    second, more = fit(10 + data(seed=1), first, learning_rate=1e-5, validation=data(64, 9))
    assert same([first.bijection.bijections[-1].mean], [second.bijection.bijections[-1].mean])
    third, more = fit(data(), first, learning_rate=1e-3, validation=0)
    assert more.train[0] > history.train[0] + 0.03
    assert not same(trained_numbers(first), trained_numbers(third))


def test_early_stopping_returns_the_best_weights(monkeypatch):
    values = iter([-4.0, -3.0, -1.0, -2.0, -2.5, -0.5])  # the first is that of the start
    weights = []

    def planted(flow, validation):
        weights.append(trained_numbers(flow))
        return next(values)

    monkeypatch.setattr(epochs, "_log_likelihood", planted)
    flow, history = fit(data(), max_epochs=5, patience=2)
    assert history.stop_reason == "early stopping"
    assert history.best_epoch == 1
    assert len(history.validation) == 4
    assert same(trained_numbers(flow), weights[2])


def test_the_start_is_returned_where_no_epoch_is_better(monkeypatch):
    values = iter([-1.0, -3.0, np.nan, -2.0])
    monkeypatch.setattr(epochs, "_log_likelihood", lambda flow, validation: next(values))
    flow, history = fit(data(), max_epochs=3)
    assert history.best_epoch == -1
    assert history.best_validation == history.start
    assert same(trained_numbers(flow), trained_numbers(flow_2d()))


def test_keyboard_interrupt_returns_the_best_weights(monkeypatch):
    log_likelihood, weights = epochs._log_likelihood, []

    def interrupted(flow, validation):
        if len(weights) == 3:
            raise KeyboardInterrupt
        weights.append(trained_numbers(flow))
        return log_likelihood(flow, validation)

    monkeypatch.setattr(epochs, "_log_likelihood", interrupted)
    flow, history = fit(data(), max_epochs=5)
    assert history.stop_reason == "interrupted"
    assert len(history.validation) == 2
    assert same(trained_numbers(flow), weights[1 + history.best_epoch])
    assert {len(part) for part in (history.train, history.seconds, history.learning_rate)} == {2}


# Seeds and units


def test_fits_are_reproducible_and_leave_global_random_state_unchanged():
    state = np.random.get_state()[1].copy()
    flows = [fit(data(), key=7, validation=0.2, max_epochs=2)[0] for _ in range(2)]
    assert same(numbers(flows[0]), numbers(flows[1]))
    assert same([state], [np.random.get_state()[1]])
    other, _ = fit(data(), key=8, validation=0.2, max_epochs=2)
    assert not same(trained_numbers(flows[0]), trained_numbers(other))


def test_a_key_may_be_an_int_or_a_key():
    left, right = (fit(data(), key=key)[0] for key in (3, jax.random.key(3)))
    assert same(numbers(left), numbers(right))


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 0.1, 1e3, 1e12])
def test_training_does_not_depend_on_the_units(scale):
    x, validation = data(), data(64, 9)
    plain, _ = fit(x)
    scaled, history = fit(scale * x + 3 * scale, validation=scale * validation + 3 * scale)
    assert same(trained_numbers(plain), trained_numbers(scaled))
    shift = 2 * np.log(scale)
    moved = np.asarray(scaled.log_prob(scale * validation + 3 * scale)) + shift
    assert np.abs(moved - np.asarray(plain.log_prob(validation))).max() < 2e-4 + 4e-6 * abs(shift)  # float32 scores
    assert (
        abs(history.gaussian + shift - gaussian_log_likelihood(Rows(x, None, None), Rows(validation, None, None)))
        < 1e-6
    )


def test_training_does_not_depend_on_column_scales_and_offset():
    units = np.array([1.0, 1e-6])
    _, history = fit(data())
    _, mixed = fit(data() * units, validation=data(64, 9) * units)
    assert abs(mixed.validation[0] - history.validation[0] + np.log(units).sum()) < 1e-4
    with pytest.warns(UserWarning, match=r"column 0 has a mean more than 10,000 times its spread"):
        _, far = fit(data() + 1e9, validation=data(64, 9) + 1e9)
    assert abs(far.validation[0] - history.validation[0]) < 1e-3


# Compilation


def test_another_number_of_rows_compiles_nothing():
    fit(data(300))
    before = len(COMPILED)
    for n in (400, 777, 123):
        fit(data(n, seed=n), flow_2d(seed=n), learning_rate=5e-3, max_epochs=2, key=n)
    assert len(COMPILED) == before
    fit(data(300), batch_size=51)
    assert len(COMPILED) > before


def test_a_fit_compiles_few_programs():
    before = len(COMPILED)
    fit(data(), pf.nice(dim=2, n_layers=2, width=9, depth=1, key=0))
    assert len(COMPILED) - before <= 12  # one to train, one to score, a few of one operation


# Options


def test_sample_weights_count_rows():
    x = data(100)
    doubled, ones = np.concatenate([x, x[:50]]), np.r_[np.full(50, 2.0), np.ones(50)]
    weighted = gaussian_log_likelihood(Rows(x, None, ones), Rows(x, None, None))
    assert abs(weighted - gaussian_log_likelihood(Rows(doubled, None, None), Rows(x, None, None))) < 1e-9
    # rows of weight zero have no effect
    both = np.concatenate([x, 100 + x])
    zeroed, history = fit(both, weights=np.r_[np.ones(100), np.zeros(100)])
    assert history.n_train == 100
    alone, _ = fit(x, weights=np.ones(100))
    assert same(trained_numbers(zeroed), trained_numbers(alone))
    # and only ratios count
    left, right = (fit(x, weights=factor * ones)[0] for factor in (1.0, 4.0))
    assert same(trained_numbers(left), trained_numbers(right))


def test_sample_weights_shift_the_density():
    x = np.concatenate([data(200) - 4, data(200, 1) + 4])
    favoured = {side: np.where(np.arange(400) < 200, 1.0 - side, side) for side in (0.1, 0.9)}
    flows = {
        side: fit(x, weights=w, max_epochs=20, learning_rate=2e-2, validation=0)[0] for side, w in favoured.items()
    }
    at = np.array([[4.0, 4.5]])
    assert flows[0.9].log_prob(at)[0] > flows[0.1].log_prob(at)[0] + 0.5


def test_frozen_parts_do_not_change():
    flow = flow_2d()
    chosen = pf.trainable(flow)
    chosen = eqx.tree_at(
        lambda f: f.bijection.bijections[1], chosen, replace_fn=lambda n: jax.tree.map(lambda _: False, n)
    )
    fitted, _ = fit(data(), flow, trainable=chosen)
    start, end = flow.bijection.bijections, fitted.bijection.bijections
    assert same(numbers(start[1]), numbers(end[1]))
    assert not same(numbers(start[0]), numbers(end[0]))


def test_ema_of_the_weights_is_returned():
    plain, _ = fit(data(), learning_rate=1e-2, validation=0, ema=None)
    averaged, _ = fit(data(), learning_rate=1e-2, validation=0, ema=0.9)
    start = trained_numbers(flow_2d())
    moved = [
        sum(np.abs(a - b).sum() for a, b in zip(trained_numbers(f), start, strict=True)) for f in (plain, averaged)
    ]
    assert 0 < moved[1] < moved[0]


@pytest.mark.parametrize("optimizer", [optax.sgd(1e-2, momentum=0.9), optax.adamw(1e-3)], ids=["sgd", "adamw"])
def test_optax_optimisers_improve_the_likelihood(optimizer):
    _, history = fit(data(), optimizer=optimizer, max_epochs=8, validation=data())
    assert history.best_validation > history.start
    assert np.isnan(history.learning_rate).all()


def test_fit_without_validation_rows():
    _, history = fit(data(), validation=0, max_epochs=2)
    assert history.validation == []
    assert history.n_validation == 0
    assert history.best_epoch == 1
    assert history.best_validation == history.train[-1]


def test_conditional_flow_with_callers_validation_rows():
    random = np.random.default_rng(0)
    context = random.uniform(90, 110, (400, 1))
    x = np.hstack([context / 10, -context / 10]) + 0.1 * random.standard_normal((400, 2))
    flow = pf.nice(dim=2, n_layers=2, width=8, depth=1, context_dim=1, key=0)
    validation = (x[:64], context[:64])
    flow, history = fit(x, flow, context=context, validation=validation, max_epochs=100, learning_rate=2e-2)
    # the Gaussian baseline is linear in the context, as the data are
    entropy = np.log(2 * np.pi * np.e * 0.01)
    assert abs(history.gaussian + entropy) < 0.15
    assert history.best_validation > -entropy - 1.0
    near, far = (flow.log_prob(np.array([[10.0, -10.0]]), np.array([[c]]))[0] for c in (100.0, 105.0))
    assert near > far + 1


def test_fit_in_one_dimension():
    x = 5 + 2 * np.random.default_rng(0).standard_normal((400, 1))
    flow = pf.elementwise_flow(dim=1, transformer="affine", key=0)
    _, history = fit(x, flow, validation=0.2, max_epochs=2)
    assert abs(history.best_validation - history.gaussian) < 0.05
    with pytest.raises(ShapeError, match=r"np.asarray\(x\)\[:, None\]"):
        fit(x[:, 0], flow)


# The Gaussian baseline


def test_gaussian_baseline_matches_the_closed_form():
    random = np.random.default_rng(1)
    mixing = np.array([[1.0, 0.0, 0.0], [0.7, 0.5, 0.0], [-2.0, 0.1, 30.0]])
    x, y = random.standard_normal((200, 3)) @ mixing.T, random.standard_normal((80, 3)) @ mixing.T
    mean, covariance = x.mean(0), np.cov(x, rowvar=False, bias=True)
    residuals = y - mean
    mahalanobis = np.einsum("ni,ij,nj->n", residuals, np.linalg.inv(covariance), residuals)
    expected = -0.5 * (mahalanobis.mean() + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert abs(gaussian_log_likelihood(Rows(x, None, None), Rows(y, None, None)) - expected) < 1e-6


def test_gaussian_baseline_omits_a_context_wider_than_the_rows():
    random = np.random.default_rng(6)
    x, context, y, y_context = (random.normal(size=(30, k)) for k in (2, 40, 2, 40))
    log_likelihood = gaussian_log_likelihood(Rows(x, context, None), Rows(y, y_context, None))
    assert log_likelihood == gaussian_log_likelihood(Rows(x, None, None), Rows(y, None, None))


@pytest.mark.parametrize("unit", [1e-165, 1e160])
def test_units_beyond_double_precision_are_refused(unit):
    with pytest.raises(DataError, match=r"in column 0: write it in another unit"):
        fit(unit * data())


def test_training_and_validation_rows_have_separate_offsets():
    (_, plain), (_, moved) = fit(data()), fit(PreparedRows(data(), (1.0, -2.0)))
    np.testing.assert_allclose(moved.train, np.array(plain.train) + 1.0)
    np.testing.assert_allclose(moved.validation, np.array(plain.validation) - 2.0)
    np.testing.assert_allclose([moved.start, moved.gaussian], np.array([plain.start, plain.gaussian]) - 2.0)


def test_gaussian_baseline_of_few_rows_has_shrunken_correlations():
    random = np.random.default_rng(5)
    mix = random.normal(size=(50, 50)) * np.geomspace(1e-3, 1e3, 50)
    train, validation = random.normal(size=(20, 50)) @ mix, random.normal(size=(400, 50)) @ mix
    z = (train - train.mean(0)) / train.std(0)
    share = ledoit_wolf_shrinkage(z, assume_centered=True)
    covariance = (1 - share) * z.T @ z / 20 + (share + 1e-10) * np.eye(50)
    normal = stats.multivariate_normal(np.zeros(50), covariance)
    expected = normal.logpdf((validation - train.mean(0)) / train.std(0)).mean() - np.log(train.std(0)).sum()
    log_likelihood = gaussian_log_likelihood(Rows(train, None, None), Rows(validation, None, None))
    assert abs(log_likelihood - expected) < 1e-6 * abs(expected)
    assert 0.05 < share < 0.95
