"""What `adjacency=` means in a recipe: layers whose coordinates depend on exactly their parents in a graph."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.networks import GraphMLP, PeriodicInputs, checked_adjacency
from pushforward.networks.activations import Activation
from pushforward.networks.graph import ancestors_of, checked_matrix
from pushforward.recipes.network_factory import NetworkFactory

_DEFAULTS = {"order": "reverse", "whiten": None, "network": None, "conditioner": "masked_mlp", "residual": False}
_REASONS = {
    "order": "The graph orders the coordinates.",
    "whiten": "A full-covariance layer makes every coordinate depend on all others.",
    "network": "Pass one or the other.",
    "conditioner": "Only masked perceptrons have graphs.",
    "residual": "Only plain masked perceptrons have graphs.",
}


def graph_network(
    dim: int,
    context_dim: int | None,
    *,
    adjacency: Any,
    context_adjacency: Any,
    allow_ancestors: bool,
    n_layers: int,
    has_angles: bool,
    width: int,
    depth: int,
    activation: Activation,
    others: Mapping[str, Any],
) -> NetworkFactory:
    """The function that makes the conditioners of a dependence graph; they bring their own ranks.

    Args:
        dim, context_dim, adjacency, context_adjacency, allow_ancestors, n_layers, width, depth, activation: of the
            recipe.
        has_angles: whether the coordinates are angles, which enter as cosine and sine.
        others: arguments of the recipe that a graph leaves no choice in, by name.

    Raises:
        ValueError: if the graph has a cycle, layers are stacked on a graph in which that adds dependences, or another
            argument contradicts the graph.
    """
    for name, default in _DEFAULTS.items():
        value = others[name]
        if not (value is default or (isinstance(value, str) and value == default) or (name == "whiten" and not value)):
            raise ValueError(f"{name}: expected {default!r} with adjacency=, got {value!r}. {_REASONS[name]}")
    if context_adjacency is not None and context_dim is None:
        raise ValueError("context_adjacency: expected None without context_dim=.")
    parents, n_context = checked_adjacency(dim, adjacency), context_dim or 0
    seen = np.ones((dim, n_context), bool)
    if context_adjacency is not None:
        seen = checked_matrix("context_adjacency", context_adjacency, (dim, n_context))
    if n_layers > 1 and not allow_ancestors:
        _check_closed(parents, seen, n_layers)

    def make(ranks: np.ndarray, out_shape: tuple[int, int], *, context_size: int, key: PRNGKeyArray) -> Any:
        network = GraphMLP(
            parents, out_shape, context_adjacency=seen, width=width, depth=depth, context_size=context_size,
            activation=activation, n_features=2 if has_angles else 1, key=key,
        )  # fmt: skip
        return PeriodicInputs(network) if has_angles else network

    return make


def _check_closed(parents: np.ndarray, seen: np.ndarray, n_layers: int) -> None:
    """Raise an error if stacked layers depend on more than one layer does: on ancestors, and on their contexts."""
    added = ancestors_of(parents) & ~parents
    inherited = (parents @ seen) & ~seen
    for extra, what in ((added, "coordinate"), (inherited, "entry of the context")):
        if extra.any():
            child, source = np.argwhere(extra)[0]
            raise ValueError(
                f"n_layers: {n_layers} layers also depend on the ancestors of a coordinate: coordinate {child} would "
                f"depend on {what} {source}, which is not in the graph. Pass n_layers=1, or allow_ancestors=True."
            )
