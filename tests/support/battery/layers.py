"""Properties of the layers one by one: exchanged and frozen, without compiling anything."""

import equinox as eqx
import jax
import numpy as np

import pushforward as pf
from battery.case import AtWeights, Case
from pushforward.core.fields import count_parameters
from pushforward.core.layers import count_layers, flat_layers


def layers_are_separate(case: Case, w: AtWeights) -> list[str]:
    """A layer replaced by itself changes no bit; frozen, it freezes as many numbers as it has, all of them its own."""
    if not case.is_double:  # once: precision does not matter
        return []
    bijection, wrong = case.bijection, []
    layers, trained = flat_layers(bijection), pf.trainable(bijection)
    if len(layers) != count_layers(bijection):
        wrong.append(f"{len(layers)} layers, counted as {count_layers(bijection)}")
    n_frozen = 0
    for index, layer in enumerate(layers):
        if not eqx.tree_equal(pf.replace_layer(bijection, index, layer), bijection):
            wrong.append(f"layer {index} replaced by itself: another bijection")
        chosen = pf.freeze(bijection, lambda b, index=index: flat_layers(b)[index])
        masks = zip(jax.tree.leaves(bijection), jax.tree.leaves(trained), jax.tree.leaves(chosen), strict=True)
        count = sum(leaf.size - np.broadcast_to(mask, leaf.shape).sum() for leaf, flag, mask in masks if flag)
        n_frozen += count
        if count != count_parameters(layer):
            wrong.append(f"layer {index} frozen: {count} numbers instead of {count_parameters(layer)}")
    if n_frozen != count_parameters(bijection):
        wrong.append(f"all layers frozen one by one: {n_frozen} numbers instead of {count_parameters(bijection)}")
    return wrong
