"""The examples run: small pieces of them, on few digits."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from sampling import quick_few

import pushforward as pf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
import vae_digits


@pytest.fixture(scope="module")
def digits():
    return vae_digits.digits()


def test_digits_are_split_evenly_and_do_not_overlap(digits):
    assert {name: len(rows) for name, rows in digits.items()} == {"train": 3500, "validation": 500, "test": 1000}
    assert all(0 <= rows.min() and rows.max() == 1 for rows in digits.values())
    seen = {row.tobytes() for row in digits["train"]}
    assert sum(row.tobytes() in seen for row in digits["test"]) < 5


@pytest.mark.parametrize("posterior", quick_few(vae_digits.POSTERIORS, "none", "iaf"))
def test_an_auto_encoder_learns(posterior, digits, monkeypatch):
    monkeypatch.setattr(vae_digits, "BATCH", 32)
    few = {name: rows[:64] for name, rows in digits.items()}
    with quickly_compiled():
        found = vae_digits.train(posterior, few, 8, 0, quiet=True)
    assert np.isfinite(found["validation"]).all()
    assert found["validation"][-1] < found["validation"][0] - 50


@pytest.mark.parametrize("posterior", quick_few(("planar", "iaf"), "planar"))
def test_the_posterior_scores_its_samples_as_the_flow_does(posterior):
    """With mean zero and scale one the bent Gaussian is the flow itself."""
    model = vae_digits.VAE(posterior, key=jax.random.key(0))
    with quickly_compiled():
        pixels, key = jnp.ones(784), jax.random.key(1)
        z, log_q = model.posterior(pixels, key)
        out = model.encoder(pixels)
        mean, raw, features = np.split(np.asarray(out), [vae_digits.LATENT, 2 * vae_digits.LATENT])
        z0, log_det = model.flow.bijection.inverse_and_log_det(z, jnp.asarray(features))
        scale = np.log1p(np.exp(raw + 0.5413))
        expected = pf.bases.Normal((vae_digits.LATENT,)).log_prob((np.asarray(z0) - mean) / scale)
        np.testing.assert_allclose(log_q, expected - np.log(scale).sum() + log_det, rtol=1e-4)


def test_importance_sampling_tightens_the_bound(digits):
    model = vae_digits.VAE("none", key=jax.random.key(0))
    pixels = jnp.asarray(vae_digits.binarised(digits["test"][:4]))
    one = np.mean([vae_digits.negative_elbo(model, pixels, jax.random.key(i)) for i in range(20)])
    many = float(vae_digits.importance_weighted(model, pixels, jax.random.key(0), 200).mean())
    assert many < one
