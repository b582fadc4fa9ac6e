"""The examples run, and the pages of docs/extend: small pieces of the former, on few digits."""

import re
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


FOLDER = Path(__file__).resolve().parent.parent / "docs" / "extend"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.filterwarnings("ignore:fit:UserWarning")  # the pages train for a few epochs
@pytest.mark.parametrize("name", quick_few([page.stem for page in PAGES], "fast_solve"))
def test_page_runs(name, tmp_path, monkeypatch, capsys):
    """The code of a page is a script, of at most 25 lines, or 60 in the worked example."""
    (code,) = re.findall(r"```python\n(.*?)```", (FOLDER / f"{name}.md").read_text(), re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip() and not re.match(r"import |from |\s*(#|\"\"\")", line)]
    assert len(lines) <= (60 if name == "fast_solve" else 25)
    monkeypatch.chdir(tmp_path)
    with quickly_compiled():
        exec(code, {"__name__": name})  # noqa: S102
    printed = capsys.readouterr().out.split()
    assert "False" not in printed
    assert name != "fast_solve" or printed == ["cached", "True"]
