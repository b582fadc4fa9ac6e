"""The general autoregressive flow, of which the named autoregressive recipes are special cases."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import Inverse, MaskedAutoregressive, Repeat, n_parameters
from pushforward.bijections.scalar import Affine, Translation, transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.flow import Flow
from pushforward.networks import AbstractAutoregressiveNetwork, CausalAttention, MaskedMLP, PeriodicInputs
from pushforward.recipes.checks import check_choice, check_count
from pushforward.recipes.outer_layers import outer_flow

Order = str | Sequence[int]


def autoregressive_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "rational_quadratic",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    residual: bool = False,
    conditioner: str = "masked_mlp",
    n_heads: int = 4,
    token_size: int = 1,
    order: Order = "reverse",
    fast: str = "density",
    method: str | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Autoregressive flow: n_layers layers in alternating orders, then `Standardise`.

        x = mean + scale * (T_n o ... o T_1)(z),   T_l: x_i = h(z_i; theta_l,i(x of lower rank, context))

    With `fast="sampling"` every layer is the inverse of T_l: the parameters are functions of z instead of x. The fast
    direction is one pass of the conditioners. The other one is sequential, at about the arithmetic of one pass (see
    `MaskedAutoregressive`).

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the initial weights.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection.
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of layers.
        width: units in each hidden layer of the conditioners (attention: size of a token).
        depth: hidden layers of a conditioner (residual: pairs after the first; attention: blocks).
        activation: name in `pushforward.networks.ACTIVATIONS`.
        residual: residual masked conditioners instead of plain ones.
        conditioner: "masked_mlp" or "attention".
        n_heads, token_size: of attention conditioners.
        order: "reverse" (natural and reversed alternately), "random" (a different one in each layer, the same for every
            key), "same" (natural in all), or one permutation for all, where `order[t]` is the coordinate of rank t. In
            one order a stack of unimodal transformers has unimodal conditionals only.
        fast: "density" (MAF) or "sampling" (IAF).
        method: of the slow direction, "cached", "jacobi" or "sequential"; chosen by the layer if None.
        base: distribution of shape (dim,); standard normal by default, uniform on circles.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in the fast direction; about one pass, in D short steps, in the other.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Papamakarios, Pavlakou & Murray 2017, section 3; Kingma et al. 2016, section 3.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.autoregressive_flow(dim=3, transformer="affine", key=0)
        >>> print(flow.sample(5, key=1).shape)
        (5, 3)
    """
    stack = autoregressive_stack(
        dim, key=key, transformer=transformer, context_dim=context_dim, n_layers=n_layers, width=width, depth=depth,
        activation=activation, residual=residual, conditioner=conditioner, n_heads=n_heads, token_size=token_size,
        order=order, fast=fast, method=method,
    )  # fmt: skip
    return outer_flow(dim, [stack], transformer_named(transformer), whiten, base)


def autoregressive_stack(
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
    conditioner: str = "masked_mlp",
    n_heads: int = 4,
    token_size: int = 1,
    order: Order = "reverse",
    fast: str = "density",
    method: str | None = None,
) -> Repeat:
    """The layers of `autoregressive_flow` without base and standardisation; same arguments."""
    check_count(dim=dim, n_layers=n_layers, width=width, depth=depth, n_heads=n_heads, token_size=token_size)
    check_choice("conditioner", conditioner, ("masked_mlp", "attention"))
    check_choice("fast", fast, ("density", "sampling"))
    if context_dim is not None:
        check_count(context_dim=context_dim)
    if conditioner == "attention" and residual:
        raise ValueError(
            "residual: expected False with conditioner='attention', which has residual connections already; got True."
        )
    transformer = transformer_named(transformer)
    n_features = 2 if is_circular(transformer) else 1  # an angle enters as cosine and sine
    context_shape = None if context_dim is None else (context_dim,)
    layers: list[AbstractBijection] = []
    for index in range(n_layers):
        layer_order, layer_key = order_of(order, dim, index), jax.random.fold_in(as_key(key), index)
        network: AbstractAutoregressiveNetwork
        if conditioner == "attention":
            network = CausalAttention(
                dim, n_parameters(transformer), width=width, depth=depth, n_heads=n_heads, token_size=token_size,
                order=layer_order, context_size=context_dim or 0, activation=activation, n_features=n_features,
                key=layer_key,
            )  # fmt: skip
        else:
            network = MaskedMLP(
                dim, n_parameters(transformer), width=width, depth=depth, order=layer_order,
                context_size=context_dim or 0, residual=residual, activation=activation, n_features=n_features,
                key=layer_key,
            )  # fmt: skip
        if is_circular(transformer):
            network = PeriodicInputs(network)
        layer = MaskedAutoregressive(transformer, network, context_shape=context_shape, method=method)
        layers.append(layer if fast == "density" else Inverse(layer))
    is_cheap = isinstance(transformer, Affine | Translation) and conditioner == "masked_mlp"
    return Repeat(layers, unroll=n_layers if is_cheap else 1)


def order_of(order: Order, dim: int, index: int) -> np.ndarray:
    """The order of layer `index`: `order[t]` is the coordinate of rank t."""
    natural = np.arange(dim)
    if not isinstance(order, str):
        return np.asarray(order)
    check_choice("order", order, ("reverse", "random", "same"))
    if order == "random":
        return np.random.default_rng(index).permutation(dim)
    return natural[::-1] if order == "reverse" and index % 2 else natural
