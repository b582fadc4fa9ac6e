"""The examples run: small pieces of them, on few digits; and the scripts of the pages in docs/extend, whole."""

import functools
import re
import runpy
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

PAGES = {page.stem: page for page in sorted(Path(__file__).resolve().parent.parent.glob("docs/extend/*.md"))}
ENSEMBLES = Path(__file__).resolve().parent.parent / "docs" / "ensembles.md"
LINES = 25  # of code, the most in a page


@pytest.fixture(scope="module")
def digits():
    return vae_digits.digits()


def test_digits_are_split_evenly_and_do_not_overlap(digits):
    assert {name: len(rows) for name, rows in digits.items()} == {"train": 3500, "validation": 500, "test": 1000}
    assert all(0 <= rows.min() and rows.max() == 1 for rows in digits.values())
    train = {row.tobytes() for row in digits["train"]}
    assert sum(row.tobytes() in train for row in digits["test"]) < 5


@pytest.mark.parametrize("posterior", quick_few(vae_digits.POSTERIORS, "none", "iaf"))
def test_training_lowers_the_validation_loss(posterior, digits, monkeypatch):
    monkeypatch.setattr(vae_digits, "BATCH", 32)
    few = {name: rows[:64] for name, rows in digits.items()}
    with quickly_compiled():
        result = vae_digits.train(posterior, few, 8, 0, quiet=True)
    assert np.isfinite(result["validation"]).all()
    assert result["validation"][-1] < result["validation"][0] - 50


@pytest.mark.slow
@pytest.mark.parametrize("posterior", quick_few(("planar", "iaf"), "planar"))
def test_posterior_log_density_matches_the_flow(posterior):
    """The density of the transformed Gaussian, from the inverse of the flow."""
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


@pytest.mark.parametrize("name", PAGES)
def test_page_is_short(name):
    code = script_of(name)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= LINES
    assert "pf.save(" in code
    assert "pf.load(" in code


@pytest.mark.parametrize("name", quick_few(PAGES, "layers"))
def test_page_runs(name, tmp_path, monkeypatch):
    """Its flow is fitted, saved, loaded and checked."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / f"{name}.py"
    script.write_text(script_of(name), encoding="utf-8")
    with quickly_compiled():
        names = runpy.run_path(str(script), run_name=f"page_{name}")
    assert names["certificate"].ok, str(names["certificate"])


@pytest.mark.slow
def test_page_of_ensembles_runs(tmp_path, monkeypatch):
    """With small flows and one epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pf, "nsf", functools.partial(pf.nsf, n_layers=2, width=4))
    monkeypatch.setattr(pf, "fit", functools.partial(pf.fit, max_epochs=1, progress=False, start="given"))
    script = tmp_path / "page.py"
    script.write_text(code_in(ENSEMBLES), encoding="utf-8")
    with quickly_compiled():
        names = runpy.run_path(str(script), run_name="page_ensembles")
    assert len(names["flows"]) == 8
    assert names["log_odds"].shape == (2000, 2)


def script_of(name):
    return code_in(PAGES[name])


def code_in(page):
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
