"""The structure of a layer: its Jacobian, the masks of its network, the factors of its matrix."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import PLU, BlockAutoregressive, Householder, Repeat, Triangular
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow
from pushforward.networks import CausalAttention, CausalConvolution, MaskedMLP
from pushforward.reporting.gallery.card import Budget, Card, Matrix

AnyModule = TypeVar("AnyModule")

_NOISE = 0.15
_ZERO = 1e-6  # of the largest entry: smaller entries are rounding errors of a solve


def perturbed(module: AnyModule, seed: int, noise: float = _NOISE) -> AnyModule:
    """The module with normal noise added to all trained parameters, since a fresh flow is the identity."""
    random = np.random.default_rng(seed)

    def perturb(leaf: Any, is_trained: bool) -> Any:
        if not is_trained:
            return leaf
        return jnp.asarray(np.asarray(leaf) + noise * random.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree.map(perturb, module, trainable(module))


def jacobians(card: Card, budget: Budget, seed: int) -> tuple[Matrix, ...]:
    """dz/dx of one layer and of two, at a random point with random weights."""
    pictures = []
    for n_layers in (1, 2):
        flow = perturbed(card.build(budget.jacobian_dim, n_layers, seed), seed)
        x = jnp.asarray(np.random.default_rng(seed + 1).standard_normal(budget.jacobian_dim), jnp.float32)
        values = np.asarray(jax.jit(jax.jacrev(flow.bijection.inverse))(x), np.float64)
        values = np.where(np.abs(values) < _ZERO * np.abs(values).max(), 0.0, values)
        title = f"{n_layers} layer{'s' if n_layers > 1 else ''}: {int((values == 0).sum())} of {values.size} are zero"
        pictures.append(Matrix(title, values))
    return tuple(pictures)


def layer_matrices(card: Card, budget: Budget, seed: int) -> tuple[Matrix, ...]:
    """The card's own matrices, of a flow with one layer and random weights."""
    if card.matrices is None:
        return ()
    return card.matrices(perturbed(card.build(budget.jacobian_dim, 1, seed), seed))


def find_module(flow: Flow, kind: type) -> Any:
    """The first module of a class in the tree of a flow; in a stack of layers, that of the first layer."""
    stacks = [node for node in _nodes(flow, Repeat) if isinstance(node, Repeat)]
    return next(node for tree in [*(stack[0] for stack in stacks), flow] for node in _nodes(tree, kind))


def _nodes(tree: Any, kind: type) -> list[Any]:
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def masks(flow: Flow) -> tuple[Matrix, ...]:
    """Masks of the masked network: which inputs a unit depends on, in the order of the layer."""
    first, *middle, last = find_module(flow, MaskedMLP).masks()
    hidden = [Matrix("hidden to hidden", mask, True) for mask in middle]
    return (Matrix("input to hidden", first, True), *hidden, Matrix("hidden to output", last, True))


def block_masks(flow: Flow) -> tuple[Matrix, ...]:
    """Masks of the block network: positive blocks on the diagonal, free blocks below it (paler), zeros above it."""
    pictures = []
    for weight in find_module(flow, BlockAutoregressive).weights:
        dim, out, _, size = weight.shape
        row, column = np.arange(dim * out)[:, None] // out, np.arange(dim * size)[None] // size
        pictures.append(1.0 * (row == column) - 0.4 * (row > column))
    names = ["input to hidden", *["hidden to hidden"] * (len(pictures) - 2), "hidden to output"]
    return tuple(Matrix(name, values) for name, values in zip(names, pictures, strict=True))


def attention_masks(flow: Flow) -> tuple[Matrix, ...]:
    """Which token attends to which. The input of a token is the token before it, so none attends to itself."""
    network = find_module(flow, CausalAttention)
    attention_mask = np.tri(network.n_ranks)
    output_mask = np.repeat(np.repeat(np.tri(network.n_ranks, k=-1), network.token_size, 0), network.token_size, 1)
    size = len(network.order)
    return (
        Matrix("attention: token by token", attention_mask, True),
        Matrix("output by input", output_mask[:size, :size], True),
    )


def convolution_masks(flow: Flow) -> tuple[Matrix, ...]:
    """Which position each layer reads, by dilation, and the receptive field of an output."""
    network = find_module(flow, CausalConvolution)
    size = len(network.order)
    layers = [
        Matrix(f"layer of dilation {dilation}", np.eye(size) + np.eye(size, k=-dilation), True)
        for dilation in sorted(set(network.dilations))
    ]
    output_mask = np.tri(size, k=-1) - np.tri(size, k=-1 - network.receptive_field)
    return (*layers, Matrix("output by input", output_mask, True))


def factors(flow: Flow) -> tuple[Matrix, ...]:
    """Factors of the linear layer: P, L and U, and the orthogonal and triangular factors of `kind="qr"`."""
    layer = find_module(flow, PLU)
    dim = layer.shape[0]
    raw, order = np.asarray(layer.factors, np.float64), np.asarray(layer.order)
    matrix = _matrix_of(layer)
    lower = np.tril(raw, -1) + np.eye(dim)
    upper = np.linalg.solve(lower, matrix[np.argsort(order)])
    rotation = perturbed(Householder(dim, key=jax.random.key(1)), 2, 1.0)
    triangular = perturbed(Triangular(dim, lower=False), 3)
    return (
        Matrix("P, a permutation", np.eye(dim)[order]),
        Matrix("L, unit lower triangular", lower),
        Matrix("U, upper triangular", np.triu(upper)),
        Matrix(
            "Q, orthogonal (kind \N{LEFT DOUBLE QUOTATION MARK}qr\N{RIGHT DOUBLE QUOTATION MARK})", _matrix_of(rotation)
        ),
        Matrix("R, upper triangular", _matrix_of(triangular)),
    )


def _matrix_of(layer: Any) -> np.ndarray:
    """The matrix of a linear layer."""
    return np.asarray(jax.jit(jax.jacrev(layer.forward))(jnp.zeros(layer.shape)), np.float64)
