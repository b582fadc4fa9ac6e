"""Networks on a dependence graph: outputs depend on exactly the parents of each coordinate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import ShapeError
from pushforward.networks import GraphMLP, checked_adjacency
from pushforward.networks.graph import ancestors_of, ranks_of


def random_graph(random, dim):
    """A random graph whose coordinates are in no particular order."""
    order = random.permutation(dim)
    adjacency = np.zeros((dim, dim), bool)
    adjacency[np.ix_(order, order)] = np.tril(random.random((dim, dim)) < 0.4, -1)
    return adjacency


@pytest.mark.parametrize(
    ("dim", "context", "depth", "width", "n_features"),
    [(6, 2, 3, 24, 1), (5, 0, 1, 5, 1), (4, 1, 2, 9, 2), (1, 2, 1, 2, 1), (3, 0, 2, 4, 1)],
)
def test_jacobian_has_exactly_the_pattern_of_the_graph(dim, context, depth, width, n_features):
    """With random weights of both signs: a mask that cuts or adds a dependence shows. The last has no edge."""
    random = np.random.default_rng(dim)
    adjacency = random_graph(random, dim) if dim != 3 else np.zeros((3, 3), bool)
    seen = random.random((dim, context)) < 0.5
    network = GraphMLP(
        adjacency, (2, dim), context_adjacency=seen, width=width, depth=depth, context_size=context,
        activation="tanh", n_features=n_features, key=jax.random.key(0),
    )  # fmt: skip
    np.testing.assert_array_equal(network.adjacency, adjacency)
    np.testing.assert_array_equal(network.context_adjacency, seen)
    network = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype), network)
    x = jnp.asarray(random.normal(size=dim * n_features), jnp.float32)
    entries = jnp.asarray(random.normal(size=context), jnp.float32) if context else None
    jacobians = jax.jit(jax.jacobian(network, (0, 1) if context else 0))(x, entries)
    by_x, by_context = jacobians if context else (jacobians, None)
    depends = (np.abs(by_x).max(0) > 0).reshape(dim, dim, n_features)
    np.testing.assert_array_equal(depends, np.repeat(adjacency[..., None], n_features, 2))
    if context:
        np.testing.assert_array_equal(np.abs(by_context).max(0) > 0, seen)


def test_batched_outputs_equal_single_ones():
    """With one context for all, and with one for each."""
    random = np.random.default_rng(0)
    network = GraphMLP({1: [0], 2: [0, 1]}, (2, 3), width=6, depth=2, context_size=2, key=jax.random.key(0))
    network = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype), network)
    x, context = (jnp.asarray(random.normal(size=(4, n)), jnp.float32) for n in (3, 2))
    single = jnp.stack([network(x[i], context[i]) for i in range(4)])
    np.testing.assert_allclose(jax.vmap(network)(x, context), single, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(lambda x: network(x, context[1]))(x)[1], single[1], rtol=1e-5, atol=1e-5)


def test_graphs_are_read_in_every_form():
    expected = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]], bool)
    by_name = {"a": [], "b": ["a"], "c": ("a",), "d": ["c", "b"]}
    for graph in (expected, expected.astype(float), expected.tolist(), {1: [0], 2: [0], 3: [1, 2]}, by_name):
        np.testing.assert_array_equal(checked_adjacency(4, graph), expected)
    np.testing.assert_array_equal(ranks_of(expected), [0, 1, 1, 2])
    np.testing.assert_array_equal(ancestors_of(expected)[3], [True, True, True, False])


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ({0: [1], 1: [2], 2: [1]}, ValueError, "got 1 depends on 2 depends on 1"),
        ({"a": ["c"], "b": ["a"], "c": ["b"]}, ValueError, "got 'a' depends on 'c' depends on 'b' depends on 'a'"),
        ({0: [0]}, ValueError, "got 0 depends on 0"),
        (np.eye(3), ValueError, "got 0 depends on 0"),
        (np.zeros((3, 2)), ShapeError, r"expected a matrix of shape \(3, 3\), got shape \(3, 2\)"),
        (2 * np.tri(3, k=-1), ValueError, "zeros and ones, got .*2.0"),
        (np.full((3, 3), "x"), ValueError, "zeros and ones"),
        ({"c": ["a", "b"]}, ShapeError, "every one of 3 columns as a key, in the order of the columns"),
        ({"a": [], "b": ["x"], "c": []}, ValueError, "among .*'a', 'b', 'c'.* got 'x'"),
        ({3: [0]}, ValueError, "got 3"),
        ({1: "0"}, ValueError, "expected a list of the parents of 1"),
    ],
)
def test_wrong_graphs_are_refused(graph, error, message):
    with pytest.raises(error, match=message):
        checked_adjacency(3, graph)


def test_wrong_sizes_are_refused():
    full, key = np.tri(4, k=-1), jax.random.key(0)
    with pytest.raises(ValueError, match="width: expected at least 3 units"):
        GraphMLP(full, (2, 4), width=2, key=key)
    with pytest.raises(ShapeError, match=r"context_adjacency: expected a matrix of shape \(4, 1\)"):
        GraphMLP(full, (2, 4), context_adjacency=np.ones((4, 2)), context_size=1, key=key)
    with pytest.raises(ShapeError, match=r"out_shape: expected \(P, D\)"):
        GraphMLP(full, (4,), key=key)
