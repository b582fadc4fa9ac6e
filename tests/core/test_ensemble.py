"""Ensembles: the mixture, the members, their disagreement, far centres, hooks and files."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Standardise
from pushforward.core.bijection import AbstractBijection
from pushforward.core.state import finalise
from pushforward.errors import DataError, ShapeError

LOCS = (-1.0, 0.5, 2.0)
X = np.random.default_rng(0).normal(size=(7, 2))


def normals():
    return pf.Ensemble([pf.bases.Normal((2,), loc=loc) for loc in LOCS])


def uniforms():
    return pf.Ensemble([pf.bases.Uniform((1,), high=high) for high in (1.0, 2.0)])


def test_density_is_the_mean_of_the_members_densities():
    flows = normals()
    members = np.stack([stats.norm(loc).logpdf(X).sum(1) for loc in LOCS])
    np.testing.assert_allclose(flows.log_probs(X), members, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(flows.log_prob(X), np.log(np.exp(members).mean(0)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(flows.disagreement(X), members.std(0, ddof=1), rtol=1e-4)
    under_jit = jax.jit(lambda flows, x: (flows.log_probs(x), flows.disagreement(x)))(flows, X.reshape(1, 7, 2))
    np.testing.assert_allclose(under_jit[0], members[:, None], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(under_jit[1][0], flows.disagreement(X), rtol=1e-4)


def test_disagreement_is_infinite_where_some_densities_are_zero():
    np.testing.assert_allclose(uniforms().disagreement([[0.5], [1.5], [9.0]]), [np.log(2.0) / np.sqrt(2), np.inf, 0.0])
    np.testing.assert_array_equal(np.isneginf(uniforms().log_prob([[1.5], [9.0]])), [False, True])
    assert float(normals()[:1].disagreement([0.0, 0.0])) == 0.0


def test_members_by_index():
    flows = normals()
    assert len(flows) == len(list(flows)) == 3
    assert [float(member.loc[0]) for member in flows] == list(LOCS)
    assert [float(flows[k].loc[0]) for k in (0, -1)] == [-1.0, 2.0]
    for part, locs in ((flows[1:], LOCS[1:]), (flows[[2, 0]], (2.0, -1.0))):
        assert isinstance(part, pf.Ensemble)
        assert [float(member.loc[0]) for member in part] == list(locs)


def test_ensemble_builds_with_different_keys_and_survives_a_file(tmp_path):
    flows = pf.ensemble(lambda key: pf.nice(2, key=key, n_layers=2, width=4, context_dim=1), 2, key=0)
    one, two = (jax.tree.leaves(eqx.filter(member, pf.trainable(member))) for member in flows)
    assert any(not np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert isinstance(flows[0].bijection.bijections[-1].mean, np.ndarray)  # standardisation stays in float64
    pf.save(tmp_path / "flows.safetensors", flows)
    loaded = pf.load(tmp_path / "flows.safetensors")
    assert eqx.tree_equal(loaded, flows)
    assert loaded.given(np.zeros(1)).sample(3, key=0).shape == (3, 2)
    assert pf.summary(flows).startswith("Ensemble shape (2,) x 2")


def test_far_centres_are_subtracted_in_float64():
    means, offset = np.array([[5.4e6, 0.0], [5.4e6 + 3, 0.0]]), np.array([5.4e6, 0.0])
    layers = [Standardise((2,)).filled(mean, np.ones(2)) for mean in means]
    members = [pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Affine(), (2,)), layer])) for layer in layers]
    expected = np.logaddexp(*(stats.norm.logpdf(X + offset - mean).sum(1) for mean in means)) - np.log(2)
    for flows in (pf.Ensemble(members), pf.bases.Mixture(members)):
        np.testing.assert_allclose(flows.log_prob(X + offset), expected, rtol=1e-5)
        assert abs(np.median(flows.sample(1000, key=0)[:, 0]) - offset[0] - 1.5) < 1.0
    near = pf.Ensemble([members[0], pf.Flow(members[0].base, Chain([members[0].bijection.bijections[0], layers[0]]))])
    np.testing.assert_array_equal(near.centred()[1], offset)


class Counted(AbstractBijection):
    """A translation whose hook doubles its shift."""

    shift: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    context_shape: None = eqx.field(static=True, default=None)

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.shift, jnp.zeros(())

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.shift, jnp.zeros(())

    def finalised(self):
        return Counted(2 * self.shift.reshape(2))


def test_hooks_reach_the_members():
    flows = pf.Ensemble([pf.Flow(pf.bases.Normal((2,)), Counted(jnp.full(2, float(k)))) for k in range(3)])
    np.testing.assert_array_equal([m.bijection.shift[0] for m in finalise(flows)], [0.0, 2.0, 4.0])


def test_errors():
    with pytest.raises(ShapeError, match=r"members: expected equal structure.*number 1 \(Uniform\) differs"):
        pf.Ensemble([pf.bases.Normal((2,)), pf.bases.Uniform((2,))])
    with pytest.raises(ShapeError, match="members: expected at least one"):
        pf.Ensemble([])
    with pytest.raises(ValueError, match="n: expected a whole number of members, at least 1, got 0"):
        pf.ensemble(lambda key: pf.bases.Normal((2,)), 0, key=0)
    flows = pf.ensemble(lambda key: pf.nice(2, key=key, n_layers=2, width=4, context_dim=1), 2, key=0)
    with pytest.raises(AttributeError, match=r"layers: expected a Flow given a context, got Ensemble"):
        flows.given(np.zeros(1)).layers  # noqa: B018
    integers = pf.Ensemble([pf.Dequantised(pf.nice(2, key=k, n_layers=2, width=4), 4) for k in range(2)])
    with pytest.raises(DataError, match="expected integers from 0 to 3"):
        integers.log_prob([[0.5, 1.0]])
