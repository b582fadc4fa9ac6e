"""The general coupling flow, of which the named coupling recipes are special cases."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    PLU,
    Chain,
    Conditional,
    Coupling,
    Elementwise,
    Repeat,
    n_parameters,
    random_half,
)
from pushforward.bijections.scalar import Affine, Translation, transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.flow import Flow
from pushforward.networks import MLP, ResidualMLP
from pushforward.recipes.checks import check_choice, check_count
from pushforward.recipes.outer_layers import outer_flow


def coupling_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "rational_quadratic",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 6,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
    base: AbstractDistribution | None = None,
) -> Flow:
    """Coupling flow on vectors: n_layers couplings with changing partitions, then `Standardise`.

        x = mean + scale * (T_n o ... o T_1)(z),   T_l: x^A = h(z^A; theta_l(z^B, context)), x^B = z^B

    Consecutive layers transform complementary halves, and each pair of layers a different random half. The partitions
    are the same for every key, which decides only the initial weights. In one dimension there is nothing to couple: the
    layers are element-wise, with a network of the context (if any).

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the initial weights.
        transformer: name in `pushforward.bijections.TRANSFORMERS`, or a scalar bijection.
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of coupling layers.
        width: units in each hidden layer of the conditioners.
        depth: hidden layers of a conditioner (residual: blocks of two).
        activation: name in `pushforward.networks.ACTIVATIONS`.
        residual: residual conditioners instead of plain ones.
        dropout: in the residual conditioners, during training.
        mixing: "permutation", or "lu" for a trained `PLU` layer before each coupling.
        base: distribution of shape (dim,); standard normal by default, uniform on circles.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3; Durkan et al. 2019, section 4.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.coupling_flow(dim=3, transformer="affine", key=0)
        >>> print(flow.sample(5, key=1).shape)
        (5, 3)
    """
    stack = coupling_stack(
        dim, key=key, transformer=transformer, context_dim=context_dim, n_layers=n_layers, width=width, depth=depth,
        activation=activation, residual=residual, dropout=dropout, mixing=mixing,
    )  # fmt: skip
    return outer_flow(dim, [stack], transformer_named(transformer), whiten, base)


def coupling_stack(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection,
    context_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    activation: str,
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
) -> Repeat:
    """The layers of `coupling_flow` without base and standardisation; same arguments."""
    check_count(dim=dim, n_layers=n_layers, width=width, depth=depth)
    if context_dim is not None:
        check_count(context_dim=context_dim)
    check_choice("mixing", mixing, ("permutation", "lu"))
    if dropout and not residual:
        raise ValueError(f"dropout: expected residual=True with dropout={dropout}; plain conditioners have none.")
    transformer = transformer_named(transformer)
    if is_circular(transformer) and mixing == "lu":
        raise ValueError(
            "mixing: expected 'permutation' for angles, which a linear map does not map to angles; got 'lu'."
        )
    n_transformed = (dim + 1) // 2
    n_inputs = (dim - n_transformed) * (2 if is_circular(transformer) else 1)  # an angle enters as cosine and sine
    layers: list[AbstractBijection] = []
    for index in range(n_layers):
        key_network, key_mixing = (jax.random.fold_in(as_key(key), 2 * index + offset) for offset in range(2))
        if dim == 1:
            layers.append(_elementwise_layer(transformer, context_dim, width, depth, activation, key_network))
            continue
        sizes = {"width": width, "depth": depth, "context_size": context_dim or 0, "activation": activation}
        out_shape = (n_parameters(transformer), n_transformed)
        if residual:
            network = ResidualMLP(n_inputs, out_shape, dropout=dropout, key=key_network, **sizes)
        else:
            network = MLP(n_inputs, out_shape, key=key_network, **sizes)
        mask = _mask(dim, index)
        context_shape = None if context_dim is None else (context_dim,)
        layer: AbstractBijection = Coupling(transformer, mask, network, context_shape=context_shape)
        layers.append(Chain([PLU(dim, key=key_mixing), layer]) if mixing == "lu" else layer)
    is_cheap = isinstance(transformer, Affine | Translation)
    return Repeat(layers, unroll=n_layers if is_cheap else 1)


def _mask(dim: int, index: int) -> np.ndarray:
    """The half transformed by layer `index`: odd layers transform the complement of the even ones.

    When D is odd, they have one coordinate in common, so that every layer transforms the same number.
    """
    half = random_half(dim, seed=index // 2)
    if index % 2 == 0:
        return half
    complement = ~half
    if dim % 2 == 1:
        complement[np.flatnonzero(half)[0]] = True
    return complement


def _elementwise_layer(
    transformer: AbstractBijection, context_dim: int | None, width: int, depth: int, activation: str, key: PRNGKeyArray
) -> AbstractBijection:
    layer = Elementwise(transformer, (1,))
    if context_dim is None:
        return layer
    network = MLP(context_dim, (n_parameters(transformer),), width=width, depth=depth, activation=activation, key=key)
    return Conditional(layer, network, (context_dim,))
