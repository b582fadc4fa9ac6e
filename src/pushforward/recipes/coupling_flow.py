"""The general coupling flow, of which the named coupling recipes are special cases."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import PLU, Chain, Coupling, Elementwise, n_parameters, random_half
from pushforward.bijections.scalar import Affine, Translation
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP, ResidualMLP
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_sizes
from pushforward.recipes.network_factory import NetworkFactory, callers_factory, network_arguments, repeated
from pushforward.recipes.vector_flow import conditional, density_transformer, vector_flow


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
    activation: Activation = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Coupling flow on vectors: n_layers couplings with changing partitions, then `Standardise`.

        x = mean + scale * (T_n o ... o T_1)(z),   T_l: x^A = h(z^A; theta_l(z^B, context)), x^B = z^B

    Consecutive layers transform complementary halves, and each pair of layers a different random half. The partitions
    are the same for every key, which decides only the initial weights. In one dimension there is nothing to couple: the
    layers are element-wise, with a network of the context (if any). With default arguments it is `nsf`.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the initial weights.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection. "rational_quadratic" is
            the spline of `nsf`: it maps x to z, which is its cheaper direction.
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of coupling layers.
        width: units in each hidden layer of the conditioners.
        depth: hidden layers of a conditioner (residual: blocks of two).
        activation: a name in `pushforward.networks.ACTIVATIONS`, an element-wise function, or a module.
        residual: residual conditioners instead of plain ones.
        dropout: in the residual conditioners, during training.
        network: makes each conditioner instead of the default ones, which width, depth, activation, residual and
            dropout describe: called as network(in_size, out_shape, context_size=..., key=...), returns a module with an
            output of `out_shape`, called as module(x, context, key=...), or a module of one array, such as
            `equinox.nn.MLP`. At D = 1 it gets the context as x. `functools.partial(pf.networks.MLP, width=128)` is such
            a function.
        start_at_identity: multiply the outputs of networks from `network` by trained gates that start at zero
            (`pushforward.networks.ZeroInitialised`), as the outputs of the default networks do.
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
    network_arguments(coupling_flow, locals())
    network = callers_factory(network, start_at_identity)
    check_sizes(context_dim, dim=dim, n_layers=n_layers, width=width, depth=depth)
    check_choice("mixing", mixing, ("permutation", "lu"))
    if dropout and not residual:
        raise ValueError(f"dropout: expected residual=True with dropout={dropout}; plain conditioners have none.")
    transformer = density_transformer(transformer)
    if is_circular(transformer) and mixing == "lu":
        raise ValueError(
            "mixing: expected 'permutation' for angles, which a linear map does not map to angles; got 'lu'."
        )
    sizes: dict[str, Any] = {"width": width, "depth": depth, "activation": activation}
    of_context: NetworkFactory = network or functools.partial(MLP, **sizes)
    of_half = functools.partial(ResidualMLP, dropout=dropout, **sizes) if residual else of_context
    layers: list[AbstractBijection] = []
    for index in range(n_layers):
        key_network, key_mixing = (jax.random.fold_in(as_key(key), 2 * index + offset) for offset in range(2))
        if dim == 1:
            layers.append(conditional(Elementwise(transformer, (1,)), context_dim, key_network, of_context))
            continue
        layer = _coupling(transformer, _mask(dim, index), context_dim, of_half, key_network)
        layers.append(Chain([PLU(dim, key=key_mixing), layer]) if mixing == "lu" else layer)
    is_cheap = isinstance(transformer, Affine | Translation)
    return vector_flow([repeated(layers, network, unroll=n_layers if is_cheap else 1)], whiten, base, transformer)


def _coupling(
    transformer: AbstractBijection,
    mask: np.ndarray,
    context_dim: int | None,
    network: NetworkFactory,
    key: PRNGKeyArray,
) -> AbstractBijection:
    """A coupling with its conditioner."""
    n_inputs = np.sum(~mask).item() * (2 if is_circular(transformer) else 1)  # an angle enters as cosine and sine
    out_shape = (n_parameters(transformer), mask.sum().item())
    conditioner = network(n_inputs, out_shape, context_size=context_dim or 0, key=key)
    return Coupling(transformer, mask, conditioner, context_shape=None if context_dim is None else (context_dim,))


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
