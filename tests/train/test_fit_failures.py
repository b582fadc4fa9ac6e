"""Maximum likelihood: errors of `fit` about data and options, and recovery from failed steps. Flows are tiny."""

import re

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from fitting import Cliff, brittle_flow, data, fit, flow_2d, numbers, same, trained_numbers
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import Chain
from pushforward.errors import DataError, ShapeError, TrainingDiverged
from pushforward.train import epochs


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    x = data()
    x[17] = 50.0
    flow, history = fit(x, brittle_flow(8.0), max_epochs=2)
    # 400 rows are 8 steps, two passes an epoch: the planted row spoils one step of each pass
    assert history.skipped_steps == 2 * 2
    assert np.isfinite(history.train).all()
    assert all(np.isfinite(leaf).all() for leaf in numbers(flow))
    assert not same(trained_numbers(flow), trained_numbers(brittle_flow(8.0)))


def test_repeated_failures_raise_training_diverged():
    # 25 steps are more than an epoch; five times training restarts with half the learning rate
    with pytest.raises(TrainingDiverged, match=r"epoch 11 at learning rate 0\.00015625"):
        fit(data(), brittle_flow(0.0), learning_rate=5e-3, max_epochs=20)
    with pytest.raises(TrainingDiverged, match="no epoch of 1 had a finite likelihood"):
        fit(data(), brittle_flow(0.0))


def test_training_restores_a_snapshot_after_consecutive_failures():
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([Cliff(0.09), flow_2d().bijection.bijections[-1]]))
    flow, history = fit(data(), flow, learning_rate=0.3, ema=None, max_epochs=30)
    assert 1 <= history.restarts <= 5
    assert history.skipped_steps >= 25 * history.restarts
    assert np.abs(flow.bijection.bijections[0].shift).max() < 0.05
    assert history.best_epoch > 0


def test_a_huge_learning_rate_gives_finite_weights_or_an_error():
    try:
        flow, history = fit(data(), learning_rate=1e3, clip=None, max_epochs=2)
    except TrainingDiverged as error:
        message = str(error)
    else:
        assert all(np.isfinite(leaf).all() for leaf in numbers(flow))
        assert np.isfinite(history.best_validation)
        return
    assert "learning rate " in message


def test_no_finite_validation_likelihood_raises_training_diverged(monkeypatch):
    monkeypatch.setattr(epochs, "_log_likelihood", lambda flow, validation: np.nan)
    with pytest.raises(TrainingDiverged, match="no epoch of 2 had a finite likelihood"):
        fit(data(), max_epochs=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "context", "validation", "weights"])
def test_rows_that_are_not_finite_are_named(where, value):
    flow = pf.nice(dim=2, n_layers=2, width=8, context_dim=1, key=0)
    arguments = {"x": data(60), "context": data(60)[:, :1], "weights": np.ones((60, 1)), "validation": data(60)}
    arguments[where][12, -1] = value
    x, validation = arguments.pop("x"), (arguments.pop("validation"), arguments["context"][:60].copy())
    if where == "context":
        validation[1][:] = 0.0
    arguments["weights"] = arguments["weights"][:, 0]
    with pytest.raises(DataError, match=rf"{where}: expected finite numbers.* in column . at row 12 \(1 of 60 rows"):
        fit(x, flow, validation=validation, **arguments)


def test_columns_of_a_frame_are_named():
    x = data(60)
    frame = pl.DataFrame({"width": x[:, 0], "height": x[:, 1]})
    flow, _ = fit(frame)
    array, _ = fit(x)
    assert same(numbers(flow), numbers(array))
    with pytest.raises(DataError, match="column 'height' is constant"):
        fit(frame.with_columns(height=pl.lit(3.0)))
    with pytest.raises(DataError, match="nan in column 'width' at row 0"):
        fit(frame.with_columns(width=pl.lit(float("nan"))))
    with pytest.raises(DataError, match="expected numbers"):
        fit(frame.with_columns(width=pl.lit("wide")))


@pytest.mark.parametrize("name", ["x", "context"])
def test_one_column_as_a_series_is_refused_with_the_way_to_pass_it(name):
    column = pd.Series(data(60)[:, 0], name="a")
    arguments = {"x": data(60)[:, :1], "context": data(60)[:, 1:], "validation": 0} | {name: column}
    flow = pf.nice(dim=1, n_layers=1, width=8, context_dim=1, key=0)
    advice = re.escape(f"np.asarray({name})[:, None]")
    with pytest.raises(ShapeError, match=rf"{name}: .*\(n, 1\), got \(60,\)\. .*{advice}, or .*df\[\['a'\]\]"):
        fit(flow=flow, **arguments)
    fit(flow=flow, **arguments | {name: np.asarray(column)[:, None]})


def test_linear_dependence_is_named():
    x = data(60)
    with pytest.raises(DataError, match=r"columns 0, 1, 2 are linearly dependent"):
        fit(np.c_[x, x.sum(1)], pf.nice(dim=3, key=0))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_refused(n):
    with pytest.raises(DataError, match=f"at least 2 rows to fit, got {n}"):
        fit(data(n))


@pytest.mark.parametrize("n", quick_few((3, 7, 19), 7))
def test_few_rows_train_with_a_warning(n):
    with pytest.warns(UserWarning, match="too few to hold some out"):
        flow, history = fit(data(n), validation=0.1, batch_size=n)
    assert history.n_train == n
    assert np.isfinite(flow.log_prob(data(5))).all()


def test_more_columns_than_rows_train_with_a_warning():
    with pytest.warns(UserWarning, match="20 rows in 50 dimensions"):
        flow, _ = fit(data(20, dim=50), pf.nice(dim=50, n_layers=2, width=8, key=0), validation=0)
    assert np.isfinite(flow.log_prob(data(5, dim=50))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"patience": 0}, "patience"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": np.nan}, "learning_rate"),
        ({"clip": -1.0}, "clip"),
        ({"ema": 1.0}, "ema"),
        ({"validation": 1.0}, "validation"),
        ({"validation": 0.999}, "nothing is left to train on"),
        ({"validation": np.zeros((0, 2))}, "at least one row"),
        ({"validation": np.zeros((5, 3))}, r"validation: expected shape \(n, 2\), got \(5, 3\)"),
        ({"weights": np.ones(3)}, "weights: expected 400 rows"),
        ({"weights": -np.ones(400)}, "non-negative"),
        ({"weights": np.zeros(400)}, "positive sum"),
        ({"context": data()}, r"context: expected none \(the flow is unconditional\)"),
        ({"trainable": True}, "tree of bools"),
        ({"trainable": jax.tree.map(lambda _: False, flow_2d())}, "at least one trained array"),
    ],
)
def test_errors_name_the_argument(options, message):
    with pytest.raises(ValueError, match=message):
        fit(data(), **options)


def test_values_outside_the_box_of_the_splines_raise_a_warning():
    flow, _ = fit(data(), pf.elementwise_flow(dim=2, key=0))
    with pytest.warns(UserWarning, match="of the standardised values lie outside the transformers' box"):
        fit(10 * data(), flow)  # a second fit keeps the units of the first
