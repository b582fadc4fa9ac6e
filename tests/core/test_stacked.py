"""Stacked distributions: calling them as one raises an error, mapping over them works."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Exp, Permutation, Standardise
from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import ShapeError


class Custom(AbstractDistribution):
    """A base distribution of a user."""

    loc: Array
    shape: tuple[int, ...] = eqx.field(static=True, default=(3,))
    context_shape: None = eqx.field(static=True, default=None)

    def log_prob_one(self, x, context, key):
        return -jnp.abs(x - self.loc).sum() - 3 * np.log(2.0)

    def sample_and_log_prob_one(self, key, context):
        x = self.loc + jax.random.laplace(key, (3,))
        return x, self.log_prob_one(x, None, None)


class Unsampled(Custom):
    def sample_and_log_prob_one(self, key, context):
        raise NotImplementedError


def flow(bijection):
    return pf.Flow(pf.bases.Normal((3,)), bijection)


MEMBERS = {
    "Normal": lambda i: pf.bases.Normal((3,), loc=float(i)),
    "Uniform": lambda i: pf.bases.Uniform((3,), -1.0 - i, 1.0),
    "Logistic": lambda i: pf.bases.Logistic((3,), loc=float(i)),
    "StudentT": lambda i: pf.bases.StudentT((3,), dof=3.0 + i),
    "TruncatedNormal": lambda i: pf.bases.TruncatedNormal((3,), -1.0 - i, 9.0),
    "MultivariateNormal": lambda i: pf.bases.MultivariateNormal(3, loc=float(i)),
    "Mixture": lambda i: pf.bases.Mixture([pf.bases.Normal((3,), loc=float(i)), pf.bases.Normal((3,))]),
    "Product": lambda i: pf.bases.Product([pf.bases.Normal((1,), loc=float(i)), pf.bases.Normal((2,))]),
    "custom": lambda i: Custom(jnp.full(3, float(i))),
    "Diagonal": lambda i: flow(pf.bijections.Diagonal(3)),
    "Elementwise": lambda i: flow(Chain([Elementwise(Affine(shift=float(i)), (3,)), Elementwise(Exp(), (3,))])),
    "Permutation": lambda i: flow(Permutation(np.roll([0, 1, 2], i))),
    "Standardise": lambda i: flow(Standardise((3,)).filled(np.full(3, float(i)), np.ones(3))),
    "nsf": lambda i: pf.nsf(dim=3, n_layers=2, width=8, key=i),
    "maf": lambda i: pf.maf(dim=3, n_layers=2, width=8, key=i),
}


def stacked(build, n=3):
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *map(build, range(n)))


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("n", quick_few([3, 2], 3))
def test_stacked_members_raise(name, n):
    members, x = stacked(MEMBERS[name], n), np.full(3, 0.25)
    for call in (lambda: members.log_prob(x), lambda: members.sample(2, key=0), lambda: jax.jit(members.log_prob)(x)):
        for promotion in ("raise", "allow"):  # the default for users is "allow"
            with jax.numpy_rank_promotion(promotion), pytest.raises(ShapeError, match=r"(?s)parameters.*jax\.vmap"):
                call()


@pytest.mark.parametrize("name", ["Normal", "Diagonal", "Mixture"])
def test_vmap_over_members_matches_each_member(name):
    x = np.full(3, 0.25, np.float32)
    expected = [float(MEMBERS[name](i).log_prob(x)) for i in range(3)]
    members = stacked(MEMBERS[name])
    np.testing.assert_allclose(jax.vmap(lambda one: one.log_prob(x))(members), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(eqx.filter_vmap(lambda one: one.log_prob(x))(members), expected, rtol=1e-4, atol=1e-5)


def test_stacked_bijections_raise():
    members = stacked(lambda i: pf.bijections.Diagonal(3))
    scalars = stacked(lambda i: Affine(shift=float(i)))
    with jax.numpy_rank_promotion("allow"):  # the default for users; otherwise JAX itself raises
        with pytest.raises(ShapeError, match=r"Diagonal: expected .* of shape \(3,\).*parameters.*jax\.vmap"):
            members.forward(jnp.zeros(3))
        with pytest.raises(ShapeError, match=r"Affine: expected .* of shape \(\)"):
            scalars.inverse(jnp.zeros(()))


def test_distributions_without_a_sampler_have_log_prob():
    assert float(Unsampled(jnp.zeros(3)).log_prob(np.zeros(3))) == pytest.approx(-3 * np.log(2))
