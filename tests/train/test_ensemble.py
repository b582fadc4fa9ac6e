"""Ensembles and mixtures of flows in `fit`: members are trained as single flows are, each stops by itself."""

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from fitting import brittle_flow, data, fit, flow_2d, same, trained_numbers

import pushforward as pf
from pushforward.core.ensemble import check_single
from pushforward.errors import ShapeError, TrainingDiverged
from pushforward.train import member_steps
from pushforward.train.data import Rows
from pushforward.train.member_validation import MemberValidation
from pushforward.train.units import log_probs_in_units

VALIDATION = data(64, 9)


def flows_2d(n=2):
    return pf.Ensemble([flow_2d(seed) for seed in range(n)])


def test_initialise_fills_the_flows_that_are_combined():
    x = data() + 30.0
    for start in (flows_2d(), pf.bases.Mixture(list(flows_2d()))):
        for filled in pf.initialise(start, x).parts:
            np.testing.assert_allclose(filled.layers[-1].mean, x.mean(0), atol=0.2)
    with pytest.raises(TypeError, match=r"flow: expected a Flow, .* or an Ensemble of them, got Normal"):
        pf.initialise(pf.bases.Normal((2,)), x)


@pytest.mark.parametrize("in_threads", [True, False])
def test_members_are_trained_as_single_flows(in_threads, monkeypatch):
    monkeypatch.setattr(member_steps, "in_threads", lambda: in_threads)
    fitted, history = fit(data(), flows_2d(), key=3, max_epochs=2)
    keys = jax.random.split(jax.random.split(jax.random.key(3))[1], 2)
    for k, key in enumerate(keys):
        single, single_history = fit(data(), flow_2d(k), key=key, max_epochs=2)
        for one, two in zip(trained_numbers(fitted[k]), trained_numbers(single), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
        assert history.members[k].best_epoch == single_history.best_epoch
        np.testing.assert_allclose(history.members[k].validation, single_history.validation, rtol=1e-5)
        np.testing.assert_allclose(history.members[k].learning_rate, single_history.learning_rate)
    assert {len(c) for c in (history.train, history.validation, history.seconds, history.learning_rate)} == {2}
    assert abs(np.mean(fitted.log_prob(VALIDATION)) - history.best_validation) < 1e-5
    assert history.best_validation >= np.mean([member.best_validation for member in history.members])
    assert history.to_dict()["members"][1]["best_epoch"] == history.members[1].best_epoch
    assert repr(history).startswith(f"EnsembleHistory(members={len(history.members)}, n_train=400, ")


def test_failures_of_a_member_do_not_disturb_the_others():
    """The training loss of the first member is NaN for most batches, or for none."""
    calm, failing = (pf.Ensemble([brittle_flow(bound), brittle_flow(1e3)]) for bound in (1e3, 0.2))
    (alone, quiet), (fitted, history) = (fit(data(), flows, max_epochs=6) for flows in (calm, failing))
    assert same(trained_numbers(fitted[1]), trained_numbers(alone[1]))
    assert history.members[1].validation == quiet.members[1].validation
    assert history.members[0].skipped_steps >= 25 > history.members[1].skipped_steps == 0
    assert history.skipped_steps == history.members[0].skipped_steps
    assert history.members[0].restarts >= 1 > history.members[1].restarts


def test_a_member_that_diverges_is_returned_with_its_best_weights():
    options = {"optimizer": optax.sgd(1e-2), "max_epochs": 6}  # with a caller's optimiser there are no restarts
    flows = pf.Ensemble([brittle_flow(0.2), brittle_flow(1e3)])
    with pytest.warns(UserWarning, match=r"fit: 1 of 2 members diverged \(number 0\)"):
        fitted, history = fit(data(), flows, **options)
    assert [member.stop_reason for member in history.members] == ["diverged", "finished"]
    assert same(trained_numbers(fitted[0]), trained_numbers(flows[0]))
    assert len(history.members[1].train) == len(history.train) == 6
    assert history.stop_reason == "finished"
    with pytest.raises(TrainingDiverged, match=r"25 steps in a row"):
        fit(data(), pf.Ensemble([brittle_flow(0.2), brittle_flow(0.1)]), **options)


def test_each_member_stops_early_and_returns_its_best_weights(monkeypatch):
    planted = iter([[-4.0, -4.0], [-3.0, -3.5], [-5.0, -3.0], [-5.0, -2.0], [-5.0, -2.5], [-5.0, -2.5]])
    weights = []

    def log_probs(validation, flows):
        weights.append([trained_numbers(member) for member in flows])
        return np.repeat(np.asarray(next(planted))[:, None], 64, 1)

    monkeypatch.setattr(MemberValidation, "log_probs", log_probs)
    fitted, history = fit(data(), flows_2d(), max_epochs=5, patience=1, ema=None)
    assert [member.best_epoch for member in history.members] == [0, 2]
    assert [len(member.validation) for member in history.members] == [2, 4]
    assert [member.stop_reason for member in history.members] == ["early stopping"] * 2
    assert history.stop_reason == "early stopping"
    assert same(weights[2][0], weights[4][0])  # a member that has stopped does not change
    assert not same(weights[2][1], weights[4][1])
    assert same(trained_numbers(fitted[0]), weights[1][0])
    assert same(trained_numbers(fitted[1]), weights[3][1])


def test_start_is_common_to_all_members():
    """Correlated columns are whitened; a likelier mixture of normals is reported, and does not replace the members."""
    x = data()
    x[:, 1] = x[:, 0] + 0.01 * x[:, 1]
    with pytest.warns(UserWarning, match="a Gaussian or a mixture of normals"):
        fitted, history = fit(x, flows_2d(), start="auto", validation=0.1)
    assert history.members[0].start_from == history.start_from == "gaussian"
    first, second = (member.bijection.bijections[-2:] for member in fitted)
    assert eqx.tree_equal(first, second)
    assert type(first[0]).__name__ == "Whiten"
    assert history.mixture > history.best_validation
    assert history.best_validation > history.gaussian - 0.05


@pytest.mark.parametrize("kind", [pf.Ensemble, pf.bases.Mixture])
def test_scores_in_units_of_members_with_unequal_moments(kind):
    flow = flow_2d()
    outer = flow.bijection.bijections[-1]
    parts = [
        eqx.tree_at(lambda f: f.bijection.bijections[-1], flow, outer.filled(np.full(2, mean), np.full(2, scale)))
        for mean, scale in ((1.0, 2.0), (3.0, 0.5))
    ]
    flows = kind(parts)
    scores = log_probs_in_units(flows, Rows(VALIDATION, None, None))
    np.testing.assert_allclose(scores, flows.log_prob(VALIDATION), rtol=1e-5, atol=1e-5)


def test_a_mixture_of_flows_is_trained_in_any_units():
    mixture = pf.bases.Mixture([flow_2d(0), flow_2d(1)])
    fitted, history = fit(data(), mixture, max_epochs=2, learning_rate=1e-2)
    offset, scale = np.array([5e6, 0.0]), np.array([1024.0, 1.0])
    far = {"validation": offset + scale * VALIDATION, "max_epochs": 2, "learning_rate": 1e-2}
    shifted, shifted_history = fit(offset + scale * data(), mixture, **far)
    assert shifted_history.validation[-1] + np.log(1024.0) == pytest.approx(history.validation[-1], abs=1e-4)
    assert history.best_validation > history.start
    assert all(bool(component.bijection.bijections[-1].is_filled) for component in fitted.components)
    assert abs(np.mean(fitted.log_prob(VALIDATION)) - history.best_validation) < 1e-5
    scores = shifted.log_prob(far["validation"]) + np.log(1024.0)
    np.testing.assert_allclose(scores, fitted.log_prob(VALIDATION), rtol=1e-3, atol=1e-3)
    _, moved = (jax.tree.leaves(eqx.filter(f, pf.trainable(f)))[-1] for f in (mixture, fitted))
    assert moved.shape == (2,)  # the logits


def test_a_mixture_of_flows_serves_as_a_base():
    base = pf.bases.Mixture([flow_2d(0), flow_2d(1)])
    flow = pf.Flow(base, flow_2d(2).bijection)
    fitted, history = fit(data(), flow, learning_rate=1e-2)
    assert history.best_validation > history.start
    assert not same(trained_numbers(fitted.base), trained_numbers(base))
    x, log_prob = fitted.sample_and_log_prob(16, key=0)
    np.testing.assert_allclose(log_prob, fitted.log_prob(x), rtol=1e-4, atol=1e-4)


def test_errors_name_the_ensemble():
    stacked = eqx.filter_vmap(lambda key: pf.nice(2, key=key, n_layers=2, width=8))(jax.random.split(jax.random.key(0)))
    with pytest.raises(ShapeError, match=r"got a Flow whose arrays all have a leading axis.*pushforward\.ensemble"):
        fit(data(), stacked)
    with pytest.raises(ShapeError, match="expected one flow, got an Ensemble of 2, which fit_target does not train"):
        check_single("fit_target", "flow", flows_2d())
    with pytest.raises(ShapeError, match="student: expected one flow, got an Ensemble of 2"):
        pf.distill(flow_2d(), flows_2d(), key=0)


def test_the_same_parts_of_all_members_are_trained():
    flows = flows_2d()
    fitted, _ = fit(data(), flows, trainable=pf.freeze(flows[0], lambda f: f.layers[1]), validation=0)
    for before, after in zip(flows, fitted, strict=True):
        assert same(trained_numbers(before.layers[1]), trained_numbers(after.layers[1]))
        assert not same(trained_numbers(before.layers[2]), trained_numbers(after.layers[2]))
    with pytest.raises(ValueError, match="trainable: expected the same parts in all members"):
        fit(data(), flows, trainable=pf.freeze(flows, lambda f: f.stacked.layers[1]))
    with pytest.raises(ValueError, match="loss: expected None for an Ensemble"):
        fit(data(), flows, loss=lambda flow, x, context, key: flow.log_prob(x))
