"""Checkpoints: a run that was broken off ends with the bits of one that was not."""

import jax
import numpy as np
import optax
import pytest

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.train import checkpoint, epochs

X = np.random.default_rng(0).standard_normal((600, 2)) * [1.0, 3.0] + [0.0, 5.0]
OPTIONS = {"key": 3, "progress": False, "max_epochs": 5, "batch_size": 50}


def build():
    return pf.real_nvp(2, n_layers=2, width=8, key=0)


def leaves(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(flow) if hasattr(leaf, "dtype")]


class Killed(Exception):
    pass


def broken_off(monkeypatch, folder, after, x=X, **options):
    """A run that dies in the epoch of this number; every epoch before has left a checkpoint."""
    monkeypatch.setattr(checkpoint, "_SECONDS", -1.0)
    validate, calls = epochs.LikelihoodObjective.validate, []

    def validate_or_die(self, *arguments):
        if len(calls) == after:
            raise Killed
        calls.append(1)
        return validate(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(epochs.LikelihoodObjective, "validate", validate_or_die)
        with pytest.raises(Killed):
            pf.fit(build(), x, checkpoint=folder, resume=True, **OPTIONS | options)


@pytest.mark.parametrize(
    ("after", "options"),
    [(0, {}), (1, {}), (5, {}), (3, {"ema": None}), (3, {"validation": 0}), (3, {"refit": False})],
    ids=["at once", "soon", "at the end", "no average", "no validation", "no last fit"],
)
def test_a_resumed_run_has_the_bits_of_an_unbroken_one(monkeypatch, tmp_path, after, options):
    options |= {"start": "given"}  # one training, not two
    expected, expected_history = pf.fit(build(), X, **OPTIONS | options)
    if after < 5:
        broken_off(monkeypatch, tmp_path, after, **options)
    else:
        pf.fit(build(), X, checkpoint=tmp_path, **OPTIONS | options)  # to its end
    flow, history = pf.fit(build(), X, checkpoint=tmp_path, resume=True, **OPTIONS | options)
    for got, wanted in zip(leaves(flow), leaves(expected), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert history.train == expected_history.train
    assert history.validation == expected_history.validation
    assert history.best_epoch == expected_history.best_epoch
    assert history.seconds == sorted(history.seconds)


def test_a_second_training_from_a_baseline_is_resumed_too(monkeypatch, tmp_path):
    clusters = X + 40.0 * (np.arange(len(X)) % 3)[:, None]
    expected, history = pf.fit(build(), clusters, **OPTIONS)
    assert history.earlier is not None
    broken_off(monkeypatch, tmp_path, 7, clusters)
    flow, _ = pf.fit(build(), clusters, checkpoint=tmp_path, resume=True, **OPTIONS)
    for got, wanted in zip(leaves(flow), leaves(expected), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_folder_that_is_not_empty_is_refused_without_resume(tmp_path):
    pf.fit(build(), X, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(CheckpointError, match="not empty"):
        pf.fit(build(), X, checkpoint=tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 60}, "batch_size"),
        ({"max_epochs": 7}, "blocks"),
        ({"learning_rate": 0.1}, "learning rate"),
        ({"clip": 1.0}, "clip"),
        ({"ema": 0.9}, "ema"),
        ({"patience": 2}, "patience"),
        ({"optimizer": optax.sgd(0.1)}, "optimizer"),
        ({"loss": lambda flow, x, context, key: -flow.log_prob(x)}, "loss"),
        ({"key": 4}, "rows"),
        ({"validation": X[:50]}, "rows"),
    ],
)
def test_another_run_is_refused(tmp_path, change, message):
    pf.fit(build(), X, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(CheckpointError, match=message):
        pf.fit(build(), X, checkpoint=tmp_path, resume=True, **OPTIONS | change)


def test_ensembles_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Ensemble"):
        pf.fit(pf.ensemble(lambda key: build(), 2, key=0), X, checkpoint=tmp_path, **OPTIONS)
