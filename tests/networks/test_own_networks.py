"""Networks and activations of the caller: in every recipe, in any form, checked once, saved and loaded."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from zoo.builders import plain_network

import pushforward as pf
from pushforward.bijections import CircularSpline, Coupling, MaskedAutoregressive, halves
from pushforward.core.network_call import call_network
from pushforward.errors import ModelFileError
from pushforward.networks import (
    MLP,
    CausalAttention,
    CausalConvolution,
    ConvNet,
    LipschitzConvNet,
    LipschitzMLP,
    MaskedMLP,
    PeriodicInputs,
    ZeroInitialised,
)

KEY = jax.random.key(0)
TINY = {"width": 4, "depth": 1}
partial = functools.partial

# recipe, its arguments, and the function that makes the default networks
DEFAULTS = {
    "coupling_flow": (partial(pf.coupling_flow, 3, context_dim=2), TINY, partial(MLP, **TINY)),
    "coupling_flow of one column": (partial(pf.coupling_flow, 1, context_dim=2), TINY, partial(MLP, **TINY)),
    "flowpp": (partial(pf.flowpp, 3), {"residual": False, **TINY}, partial(MLP, **TINY)),
    "elementwise_flow": (partial(pf.elementwise_flow, 2, context_dim=2), TINY, partial(MLP, **TINY)),
    "linear_flow": (partial(pf.linear_flow, 2, context_dim=2), TINY, partial(MLP, **TINY)),
    "planar_flow": (partial(pf.planar_flow, 2, context_dim=2), TINY, partial(MLP, **TINY)),
    "nsf_ar": (partial(pf.nsf_ar, 3, context_dim=2), TINY, partial(MaskedMLP, **TINY)),
    "maf_mog": (partial(pf.maf_mog, 3, order="random"), TINY, partial(MaskedMLP, **TINY)),
    "iaf": (partial(pf.iaf, 3), {"residual": True, **TINY}, partial(MaskedMLP, residual=True, **TINY)),
    "transformer_flow": (
        partial(pf.transformer_flow, 3), {"token_size": 2, **TINY}, partial(CausalAttention, token_size=2, **TINY)
    ),
    "circular": (
        partial(pf.autoregressive_flow, 2, transformer=CircularSpline(3)), TINY,
        lambda ranks, out_shape, **rest: PeriodicInputs(MaskedMLP(ranks, out_shape, n_features=2, **TINY, **rest)),
    ),
    "wavenet": (
        partial(pf.wavenet, 4, context_dim=2, n_frames=2), TINY, partial(CausalConvolution, n_frames=2, **TINY)
    ),
    "glow": (partial(pf.glow, (2, 2, 1), n_scales=1, context_dim=2), TINY, partial(ConvNet, **TINY)),
    "real_nvp_image": (partial(pf.real_nvp_image, (2, 2, 1), n_scales=1), TINY, partial(ConvNet, **TINY)),
    "residual_flow": (
        partial(pf.residual_flow, 2), {"lipschitz": 0.9, **TINY}, partial(LipschitzMLP, lipschitz=0.9, **TINY)
    ),
    "residual_flow_image": (
        partial(pf.residual_flow_image, (2, 2, 1), n_scales=1), TINY, partial(LipschitzConvNet, **TINY)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_factory_of_the_default_networks_gives_the_default_flow(name):
    recipe, arguments, factory = DEFAULTS[name]
    options = {} if name in ("linear_flow",) else {"n_layers": 2}
    expected, got = recipe(key=0, **options, **arguments), recipe(key=0, **options, network=factory)
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_dequantisation_networks_get_the_features_as_an_image():
    def network(in_shape, out_shape, *, context_size, key):
        return ConvNet(in_shape, out_shape, context_channels=context_size, key=key, **TINY)

    flow = partial(pf.dequantisation_flow, (2, 2, 1), levels=4, key=0)
    pairs = zip(jax.tree.leaves(flow(network=network)), jax.tree.leaves(flow(**TINY)), strict=True)
    assert all(np.array_equal(mine, theirs) for mine, theirs in pairs)


class Doubled(eqx.Module):
    """Any network of the protocol, with a vector as its output."""

    def __call__(self, x, context=None, *, key=None):
        shift = 0.0 if key is None else jax.random.normal(key, (1,))
        return jnp.concatenate([x, context]) + shift


def test_call_joins_reshapes_and_passes_the_key():
    x, context = jnp.arange(3.0), jnp.arange(1.0)
    joined = jnp.concatenate([x, context]).reshape(2, 2)
    for network in (Doubled(), lambda x: x, lambda x, c: jnp.concatenate([x, c]), eqx.nn.Identity()):
        np.testing.assert_array_equal(call_network(network, x, context, (2, 2)), joined)
    assert not np.array_equal(call_network(Doubled(), x, context, (2, 2), key=KEY), joined)
    image = call_network(lambda x: x, jnp.zeros((2, 2, 1)), jnp.arange(2.0), (2, 2, 3))
    np.testing.assert_array_equal(image, np.broadcast_to([0.0, 0.0, 1.0], (2, 2, 3)))


def test_dropout_of_equinox_acts_with_a_key_only():
    network = eqx.nn.Sequential([eqx.nn.Dropout(0.5)])
    x = jnp.ones(64)
    np.testing.assert_array_equal(call_network(network, x, None, (64,)), x)
    assert 0 < np.mean(np.asarray(call_network(network, x, None, (64,), key=KEY)) == 0) < 1


def gated(in_size, out_shape, *, context_size, key):
    mlp = eqx.nn.MLP(in_size + context_size, math.prod(out_shape), 4, 1, activation=jax.nn.mish, key=key)
    return ZeroInitialised(mlp, out_shape)


def test_gated_network_starts_at_the_identity_and_trains():
    flow = pf.real_nvp(3, context_dim=2, network=gated, n_layers=2, key=0)
    x, context = jnp.ones(3), jnp.ones(2)
    with quickly_compiled():
        np.testing.assert_array_equal(flow.bijection.forward(x, context), x)
        gradient = eqx.filter_grad(lambda b: b.forward(x, context).sum())(flow.bijection)
    gates = [leaf for leaf in jax.tree.leaves(gradient) if leaf.shape[1:] == (2, 2)]
    assert any(np.abs(gate).max() > 0 for gate in gates)


class Hidden(eqx.Module):
    """A perceptron whose zero output weights hide that everything depends on everything."""

    mlp: MLP

    def __call__(self, x, context=None, *, key=None):
        return self.mlp(x)


class Inclusive(eqx.Module):
    """A network off by one: coordinate i depends on itself where it is positive, else not."""

    weight: jax.Array
    is_strict: bool = eqx.field(static=True)

    def __call__(self, x, context=None, *, key=None):
        mask = np.tri(x.shape[0], k=-1 if self.is_strict else 0)
        return jnp.stack([jnp.sqrt(mask @ (self.weight * jax.nn.relu(x))), mask @ jnp.tanh(x)])


def test_network_that_breaks_the_order_is_refused():
    with pytest.raises(ValueError, match=r"output 0 \(rank 2\) depends on input 0 \(rank 2\)"):
        MaskedAutoregressive("affine", Hidden(MLP(3, (2, 3), key=KEY, **TINY)), ranks=(2, 0, 1))
    with pytest.raises(ValueError, match=r"output 0 \(rank 0\) depends on input 0"):
        MaskedAutoregressive("affine", Inclusive(jnp.ones(3), False), ranks=3)
    with pytest.raises(ValueError, match=r"output 1 \(rank 1\) depends on input 0 \(rank 2\)"):
        MaskedAutoregressive("affine", Inclusive(jnp.ones(3), True), ranks=(2, 1, 0))
    assert MaskedAutoregressive("affine", Inclusive(jnp.ones(3), True), ranks=3).method == "sequential"


def test_network_of_periodic_inputs_is_checked_by_features():
    """A caller's network of two features for each coordinate, right and wrong."""

    def network(k):
        mask = np.repeat(np.tri(3, k=k), 2, 1)
        return PeriodicInputs(lambda x: jnp.tile(jnp.tanh(mask @ x), (10, 1)))

    MaskedAutoregressive(CircularSpline(3), network(-1), ranks=3)
    with pytest.raises(ValueError, match="depends on input"):
        MaskedAutoregressive(CircularSpline(3), network(0), ranks=3)


def test_layers_are_built_under_vmap():
    def build(key):
        order = (1, 2, 0)
        network = eqx.tree_at(lambda n: n.bias, plain_network(order), jax.random.normal(key, (2, 3)))
        return MaskedAutoregressive("affine", network, ranks=np.argsort(order))

    layers = eqx.filter_vmap(build)(jax.random.split(KEY, 2))
    assert layers.network.bias.shape == (2, 2, 3)


def test_jacobi_and_passes_agree_for_a_plain_network():
    with quickly_compiled():
        network = eqx.tree_at(lambda n: n.weight, plain_network((1, 2, 0, 3)), jax.random.normal(KEY, (2, 4, 4)))
        ranks, z = np.argsort((1, 2, 0, 3)), jnp.linspace(-1.0, 1.0, 4)
        layers = [
            MaskedAutoregressive("affine", network, ranks=ranks, method=method) for method in ("sequential", "jacobi")
        ]
        passes, jacobi = (eqx.filter_jit(lambda layer: layer.forward_and_log_det(z))(layer) for layer in layers)
    np.testing.assert_allclose(passes[0], jacobi[0], rtol=1e-5)
    np.testing.assert_allclose(passes[1], jacobi[1], rtol=1e-5)


def own_activation(x):
    return x / (1 + jnp.abs(x))


def mlp_flow(activation):
    network = MLP(1, (2, 1), activation=activation, key=KEY, **TINY)
    return pf.Flow(pf.bases.Normal((2,)), Coupling("affine", halves(2), network))


def test_activations_are_saved_by_name_or_found_in_extra(tmp_path):
    path = tmp_path / "flow"
    assert MLP(1, (1,), activation=jax.nn.swish, key=KEY).activation == "silu"
    for activation in (jax.nn.mish, jnp.sin, eqx.nn.PReLU(0.3)):
        pf.save(path, mlp_flow(activation))
        again = pf.load(path).bijection.network
        assert eqx.tree_equal(again, mlp_flow(activation).bijection.network)
    pf.save(path, mlp_flow(own_activation))
    assert pf.load(path, extra=(own_activation,)).bijection.network.activation is own_activation
    with pytest.raises(ModelFileError, match=r"unknown function .*own_activation.*extra=\(my_activation,\)"):
        pf.load(path)
    with pytest.raises(ModelFileError, match=r"bijection.network.activation is the function .*`def`.*a lambda"):
        pf.save(path, mlp_flow(lambda x: x))


def test_trained_activation_of_a_masked_network():
    """Its parameter has a gradient, and the sequential direction inverts the parallel one."""
    flow = pf.maf(5, activation=eqx.nn.PReLU(0.3), n_layers=1, key=0, **TINY)
    layer = flow.layers[0]
    weight = jax.random.normal(KEY, layer.network.out_weight.shape)
    layer = eqx.tree_at(lambda part: part.network.out_weight, layer, weight)
    x = jnp.linspace(-2.0, 2.0, 5)
    with quickly_compiled():
        gradient = eqx.filter_jit(eqx.filter_grad(lambda part: part.inverse_and_log_det(x)[1]))(layer)
        assert float(gradient.network.trained_activation.negative_slope) != 0
        z = eqx.filter_jit(lambda part: part.inverse(x))(layer)
        assert layer.method == "cached"
        np.testing.assert_allclose(eqx.filter_jit(lambda part: part.forward(z))(layer), x, atol=1e-4)
