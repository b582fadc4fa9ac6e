"""Surgery: the layers of a flow one by one, replaced, inserted, removed and frozen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    Affine,
    Chain,
    Diagonal,
    Elementwise,
    Inverse,
    Permutation,
    Planar,
    Repeat,
    stack_equal,
)
from pushforward.core.layers import flat_layers
from pushforward.errors import ShapeError


def shift(number):
    return Elementwise(Affine(shift=float(number)), (2,))


def repeat(*numbers, **options):
    return Repeat([shift(number) for number in numbers], **options)


PLANAR = Planar(2, key=jax.random.key(0))
FLOW = pf.Flow(pf.bases.Normal((2,)), Chain([repeat(1, 2, 3), PLANAR, pf.bijections.Standardise((2,))]))


def shifts(tree):
    """What distinguishes the layers: their shifts, or their names."""
    return [
        float(layer.transformer.shift) if isinstance(layer, Elementwise) else type(layer).__name__
        for layer in flat_layers(tree)
    ]


def structure(bijection):
    """Lengths of the parts that are a `Repeat`, names of the others."""
    parts = bijection.bijections if isinstance(bijection, Chain) else (bijection,)
    return [len(part) if isinstance(part, Repeat) else type(part).__name__ for part in parts]


def test_a_repeat_is_a_sequence():
    layers = repeat(1, 2, 3)
    assert len(layers) == 3
    assert [float(layer.transformer.shift) for layer in layers] == [1, 2, 3]
    assert float(layers[-1].transformer.shift) == 3
    assert eqx.tree_equal(layers[-3], layers[0])
    for index in (3, -4):
        with pytest.raises(IndexError, match="expected one from -3 to 2"):
            layers[index]
    assert shifts(jax.jit(lambda layers: layers.unstack())(layers)) == [1, 2, 3]


def test_unstack_and_stack_equal_are_inverse():
    layers = repeat(1, 2, 3, unroll=2, recompute=True)
    assert eqx.tree_equal(stack_equal(layers.unstack(), unroll=2, recompute=True), layers)
    assert structure(stack_equal([shift(1), PLANAR, shift(1), shift(2)], unroll=5)) == ["Elementwise", "Planar", 2]
    units = [pf.bijections.Standardise((2,)), pf.bijections.Standardise((2,))]
    assert structure(stack_equal(units)) == ["Standardise", "Standardise"]  # they keep their float64


def test_layers_are_the_map():
    """Through a chain in a chain, a repeat of chains, and inverses of both."""
    pattern = [Chain([Elementwise(Affine(scale=1.0 + i), (2,)), Permutation([1, 0])]) for i in range(3)]
    nested = Chain([Inverse(Repeat(pattern)), Chain([shift(1), Inverse(Chain([PLANAR, shift(2)]))]), Inverse(shift(3))])
    layers = flat_layers(nested)
    assert len(layers) == 10
    assert sum(isinstance(layer, Chain | Repeat) for layer in layers) == 0
    point = jnp.array([0.3, -0.7])
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        for one, other in zip(getattr(nested, method)(point), getattr(Chain(layers), method)(point), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for index, layer in enumerate(layers):
        assert eqx.tree_equal(pf.replace_layer(nested, index, layer), nested)
        back = pf.remove_layer(pf.insert_layer(nested, index, PLANAR), index)
        assert all(eqx.tree_equal(a, b) for a, b in zip(flat_layers(back), layers, strict=True))


def test_layers_of_every_distribution_that_wraps_a_flow():
    conditional = pf.maf(dim=2, context_dim=1, n_layers=2, width=4, key=0)
    given = conditional.given(np.zeros(1))
    assert [type(layer) for layer in given.layers] == [type(layer) for layer in conditional.layers]
    rounded = pf.Discretised(FLOW, [1.0, 0.0])
    removed = pf.remove_layer(rounded, 0)
    assert len(removed.layers) == len(rounded.layers) - 1 == 4
    assert removed.steps is rounded.steps
    assert len(pf.remove_layer(given, 0).layers) == 2
    assert len(pf.Dequantised(FLOW, 4).layers) == 5


def test_equal_structure_stays_a_repeat():
    inside = pf.replace_layer(FLOW, 1, shift(7))
    assert shifts(inside.bijection) == [1, 7, 3, "Planar", "Standardise"]
    assert structure(inside.bijection) == [3, "Planar", "Standardise"]
    longer = FLOW
    for index, number in ((0, 8), (2, 9), (5, 10)):
        longer = pf.insert_layer(longer, index, shift(number))
    assert shifts(longer.bijection) == [8, 1, 9, 2, 3, 10, "Planar", "Standardise"]
    assert structure(longer.bijection) == [6, "Planar", "Standardise"]
    unrolled = pf.insert_layer(repeat(1, 2, unroll=2), 1, shift(5))
    assert (len(unrolled), unrolled.unroll) == (3, 3)


def test_other_structure_splits_a_repeat_and_joins_it_again():
    split = pf.replace_layer(FLOW, 1, PLANAR)
    assert shifts(split.bijection) == [1, "Planar", 3, "Planar", "Standardise"]
    assert structure(split.bijection) == [1, "Planar", 1, "Planar", "Standardise"]
    joined = pf.replace_layer(split, 1, shift(2))
    assert eqx.tree_equal(joined, FLOW)
    without = pf.remove_layer(split, 1)
    assert structure(without.bijection) == [2, "Planar", "Standardise"]
    alone = pf.insert_layer(repeat(1, 2), 1, PLANAR)
    assert shifts(alone) == [1, "Planar", 2]


def test_an_index_is_that_of_a_list():
    names = list(range(5))
    for index in range(-5, 6):
        expected = shifts(FLOW.bijection)
        expected.insert(index, "Diagonal")
        assert shifts(pf.insert_layer(FLOW, index, Diagonal(2)).bijection) == expected
        if index < 5:
            expected = shifts(FLOW.bijection)
            expected[index] = "Diagonal"
            assert shifts(pf.replace_layer(FLOW, index, Diagonal(2)).bijection) == expected
            assert [names[index]] == [i for i in names if expected[i] == "Diagonal"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: pf.replace_layer(FLOW, 5, PLANAR), "index: expected a whole number from -5 to 4, got 5"),
        (lambda: pf.insert_layer(FLOW, 6, PLANAR), "index: expected a whole number from -5 to 5, got 6"),
        (
            lambda: pf.insert_layer(FLOW, 0, Planar(3, key=jax.random.key(0))),
            r"layer: expected shape \(2,\), got Planar",
        ),
        (lambda: pf.insert_layer(FLOW, 0, Affine()), r"wrap it: Elementwise\(Affine"),
        (
            lambda: pf.insert_layer(FLOW, 0, pf.maf(dim=2, context_dim=1, n_layers=1, width=4, key=0).layers[0]),
            "layer: expected an unconditional layer, as the flow is",
        ),
        (
            lambda: pf.remove_layer(pf.maf(dim=2, context_dim=1, n_layers=1, width=4, key=0), 0),
            "no part of the flow depends on its context",
        ),
        (lambda: pf.remove_layer(PLANAR, 0), "single layer, which cannot be removed"),
        (lambda: pf.freeze(FLOW, lambda f: None), "where: expected a function that selects layers or arrays"),
        (lambda: pf.freeze_all_but(FLOW, lambda f: f.base), "where: expected a part of the flow with trained"),
    ],
)
def test_errors_name_the_argument(edit, message):
    with pytest.raises((ValueError, ShapeError), match=message):
        edit()


def test_frozen_parts():
    """Of every kind of selection: the masks are True at all trained numbers but those selected."""
    flow = pf.nsf(dim=2, n_layers=3, width=4, mixing="lu", key=0)
    whole = pf.trainable(flow)

    def network(tree):
        return tree.bijection.bijections[0].layers.bijections[1].network

    base = pf.freeze(flow, lambda f: f.base)
    assert eqx.tree_equal(base, whole)  # its arrays are frozen as it is
    layer = pf.freeze(flow, lambda f: f.layers[3])  # the second of three couplings
    assert np.array_equal(network(layer).out_bias, np.reshape([True, False, True], (3, 1, 1)))
    assert not isinstance(layer.bijection.bijections[0].layers.bijections[0].diagonal, np.ndarray)
    several = pf.freeze(flow, lambda f: f.layers[1].network, lambda f: (f.layers[3], f.layers[5]))
    assert not any(jax.tree.leaves(network(several)))
    entries = pf.freeze(flow, lambda f: f.layers[1].network.weights[0][0])
    assert network(entries).weights[0].shape == (3, network(flow).weights[0].shape[1], 1)
    assert network(entries).weights[0].sum() == network(entries).weights[0].size - 1
    opposite = pf.freeze_all_but(flow, lambda f: f.layers[3])
    both = jax.tree.map(lambda flag, a, b: np.array_equal(np.logical_xor(a, b), flag | np.zeros(np.shape(a), bool)),
                        whole, layer, opposite)  # fmt: skip
    assert all(jax.tree.leaves(both))
