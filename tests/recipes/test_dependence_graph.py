"""Flows on a dependence graph: the density is that of a Bayesian network with this graph."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.case import randomised
from documents import run_page

import pushforward as pf
from pushforward.bijections import CircularSpline
from pushforward.networks.graph import ancestors_of

GRAPH = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]}
PARENTS = pf.networks.checked_adjacency(5, GRAPH)
SMALL = {"n_layers": 1, "width": 8, "depth": 1, "activation": "tanh", "key": 0}
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)


def perturbed(flow):
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    return eqx.combine(randomised(trained, 0.5), rest)


def moral_graph(parents):
    """Whether i and j are the same, one a parent of the other, or parents of one child."""
    family = parents | np.eye(len(parents), dtype=bool)
    return (family.astype(int).T @ family.astype(int)) > 0


@pytest.fixture(scope="module")
def flow():
    return perturbed(pf.autoregressive_flow(5, adjacency=GRAPH, transformer="affine", **SMALL))


def test_mixed_derivatives_of_the_density_vanish_outside_the_moral_graph(flow):
    """The log-density is a sum over families, so its mixed derivatives are zero for all other pairs, and only these."""
    hessian = jax.jit(jax.vmap(jax.hessian(lambda x: flow.log_prob_one(x, None, None))))(X)
    size = np.abs(hessian).max(0)
    expected = moral_graph(PARENTS)
    assert (size[expected] > 1e-3).all()
    assert (size[~expected] < 1e-6).all()


def test_the_latent_of_a_coordinate_depends_on_it_and_its_parents(flow):
    jacobian = jax.jit(jax.vmap(jax.jacobian(flow.bijection.inverse)))(X)
    np.testing.assert_array_equal(np.abs(jacobian).max(0) > 0, PARENTS | np.eye(5, dtype=bool))


def test_sampling_takes_as_many_passes_as_the_graph_is_deep(flow):
    layer = flow.layers[0]
    assert layer.method == "sequential"
    assert layer.n_ranks == 4
    x, log_prob = flow.sample_and_log_prob(50, key=0)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-4, atol=1e-4)
    jacobi, _, n_iterations = layer.forward_by_jacobi(X[0])
    np.testing.assert_allclose(jacobi, layer.forward(X[0]), rtol=1e-4, atol=1e-5)
    assert n_iterations <= 5


def test_density_equals_that_of_a_linear_gaussian_network():
    """Weights set by hand to x = B x + z, two units relu(v x) - relu(-v x) for each set of parents v."""
    slopes = np.zeros((5, 5), np.float32)
    slopes[PARENTS] = np.random.default_rng(1).normal(size=PARENTS.sum())
    options = {**SMALL, "width": 8, "activation": "relu"}
    flow = pf.autoregressive_flow(5, adjacency=GRAPH, transformer="affine", **options)
    network = flow.layers[0].network
    weight, out = np.zeros((8, 5), np.float32), np.zeros((2, 5, 8), np.float32)
    sets = list(dict.fromkeys(map(tuple, PARENTS[PARENTS.any(1)].tolist())))
    assert len(sets) == 3
    for unit, parents in enumerate(sets):
        units = [u for u in range(8) if u % len(network_sets(network)) == unit][:2]
        direction = slopes[np.flatnonzero((PARENTS == parents).all(1))[0]]
        weight[units] = direction, -direction
        for child in np.flatnonzero((PARENTS == parents).all(1)):
            out[0, child, units] = np.array([1, -1]) * (slopes[child] @ direction) / (direction @ direction)
    network = eqx.tree_at(lambda n: (n.weights, n.out_weight), network, ((jnp.asarray(weight),), jnp.asarray(out)))
    flow = eqx.tree_at(
        lambda f: f.bijection.bijections[0].layers.network, flow, jax.tree.map(lambda leaf: leaf[None], network)
    )
    residual = np.asarray(X) - np.asarray(X) @ slopes.T  # its density; the map x -> residual has determinant one
    exact = -0.5 * (residual**2).sum(1) - 2.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(flow.log_prob(X), exact, rtol=1e-5)


def network_sets(network):
    """The different sets of hidden units, in the order of the units."""
    return list(dict.fromkeys(map(tuple, network._masks(8, 1)[0].tolist())))


def test_inverse_flow_maps_with_the_graph_and_sees_its_part_of_the_context():
    seen = np.eye(5, 2, dtype=bool)
    flow = perturbed(
        pf.inverse_autoregressive_flow(5, adjacency=PARENTS, context_dim=2, context_adjacency=seen, **SMALL)
    )
    by_z, by_context = jax.jit(jax.jacobian(flow.bijection.forward, (0, 1)))(X[0], jnp.ones(2))
    np.testing.assert_array_equal(np.abs(by_z) > 0, PARENTS | np.eye(5, dtype=bool))
    np.testing.assert_array_equal(np.abs(by_context) > 0, seen)


def test_stacked_layers_depend_on_ancestors_and_must_be_asked_for():
    options = {**SMALL, "n_layers": 2, "transformer": "affine"}
    with pytest.raises(ValueError, match=r"n_layers: .* coordinate 3 would depend on coordinate 0.*allow_ancestors"):
        pf.autoregressive_flow(5, adjacency=GRAPH, **options)
    with pytest.raises(ValueError, match=r"n_layers: .* coordinate 1 would depend on entry of the context 0"):
        pf.autoregressive_flow(2, adjacency={1: [0]}, context_dim=1, context_adjacency=np.array([[1], [0]]), **options)
    flow = perturbed(pf.autoregressive_flow(5, adjacency=GRAPH, allow_ancestors=True, **options))
    jacobian = jax.jit(jax.jacobian(flow.bijection.inverse))(X[0])
    depends = np.abs(jacobian) > 0
    assert not (depends & ~(ancestors_of(PARENTS) | np.eye(5, dtype=bool))).any()
    assert depends[3, 0]
    pf.autoregressive_flow(3, adjacency=np.tri(3, k=-1), **options)  # every ancestor is a parent


@pytest.mark.slow
def test_angles_enter_as_cosine_and_sine():
    flow = pf.autoregressive_flow(3, adjacency={1: [0]}, transformer=CircularSpline(3), **SMALL)
    flow = perturbed(flow)
    x = X[:, :3]
    density = jax.jit(jax.vmap(lambda x: flow.log_prob_one(x, None, None)))
    turned = density(x.at[:, 0].add(2 * np.pi))
    np.testing.assert_allclose(turned, density(x), rtol=1e-4, atol=1e-4)
    jacobian = jax.jit(jax.vmap(jax.jacobian(flow.bijection.inverse)))(x)
    np.testing.assert_array_equal(
        np.abs(jacobian).max(0) > 0, np.eye(3, dtype=bool) | (np.arange(9) == 3).reshape(3, 3)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "random"}, "order: expected 'reverse' with adjacency="),
        ({"whiten": True}, "whiten: expected None"),
        ({"residual": True}, "residual: expected False"),
        ({"conditioner": "attention"}, "conditioner: expected 'masked_mlp'"),
        ({"network": pf.networks.MaskedMLP, "width": 64, "depth": 2, "activation": "relu"}, "network: expected None"),
        ({"context_adjacency": np.ones((5, 1))}, "context_adjacency: expected None without context_dim="),
        ({"adjacency": None, "allow_ancestors": True}, "expected neither without adjacency="),
    ],
)
def test_arguments_that_contradict_a_graph_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pf.autoregressive_flow(5, **{**SMALL, "adjacency": GRAPH, **options})


@pytest.mark.slow
def test_page_runs(tmp_path):
    variables = run_page("dependence_graphs.md", tmp_path)
    assert np.isfinite(variables["samples"]).all()
    layer = variables["flow"].layers[0]
    assert layer.n_ranks == 4
    np.testing.assert_array_equal(layer.network.adjacency.sum(1), [0, 1, 2, 1])
