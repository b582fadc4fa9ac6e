"""What the backward pass of a coupling's network stores on a CPU: inputs and weights, no activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward.networks.network as network_file
from pushforward.networks import MLP, ConvNet

BATCH = 64


def conv_net():
    return ConvNet((4, 4, 2), (4, 4, 2), width=32, depth=2, key=jax.random.key(0)), (4, 4, 2)


def wide_output():
    return MLP(3, (23, 8), width=32, depth=2, key=jax.random.key(0)), (3,)


def narrow_output():
    return MLP(3, (2, 2), width=32, depth=2, key=jax.random.key(0)), (3,)


def stored_and_gradient(build, monkeypatch, backend):
    monkeypatch.setattr(network_file.jax, "default_backend", lambda: backend)
    network, shape = build()
    network = jax.tree.map(lambda leaf: leaf + 0.1, network)  # the last layer starts at zero
    x = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    out, vjp = jax.vjp(lambda network, x: jax.vmap(network)(x), network, x)
    n_arguments = x.size + sum(leaf.size for leaf in jax.tree.leaves(network))
    return sum(leaf.size for leaf in jax.tree.leaves(vjp)) - n_arguments, vjp(jnp.ones_like(out))


@pytest.mark.parametrize("build", [conv_net, wide_output])
def test_activations_are_computed_again_on_a_cpu(build, monkeypatch):
    again, gradient = stored_and_gradient(build, monkeypatch, "cpu")
    stored, expected = stored_and_gradient(build, monkeypatch, "gpu")
    assert stored >= BATCH * 2 * 32
    assert again <= stored / 8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), gradient, expected)


def test_they_are_stored_where_the_hidden_products_are_most_of_the_work(monkeypatch):
    assert stored_and_gradient(narrow_output, monkeypatch, "cpu")[0] >= BATCH * 2 * 32
