"""MADE, MAF and IAF: autoregressive layers with affine transformers, or with mixtures."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bases import Logistic
from pushforward.bijections import MixtureNormal
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import layers_of
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow, inverse_autoregressive_flow
from pushforward.recipes.checks import without
from pushforward.recipes.network_factory import NetworkFactory
from pushforward.recipes.vector_flow import with_inner_layer


def made(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "same",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """MADE: the autoregressive Gaussian density, p(x) = prod_i N(x_i; mu_i(x of lower rank), sigma_i(...)^2).

    One affine autoregressive layer over a standard normal. Each conditional is a single normal.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        context_dim, whiten, width, depth, activation, residual, order, method, network, start_at_identity, base: as for
            `autoregressive_flow`; natural order by default.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of the network; sample about one pass, in D short steps.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Germain, Gregor, Murray & Larochelle 2015; as a flow, Papamakarios, Pavlakou & Murray 2017, section 3.1.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.made(dim=3, order=(1, 2, 0), key=0)                # p(x2) p(x3|x2) p(x1|x2,x3)
        >>> print(flow.sample(4, key=1).shape)
        (4, 3)
    """
    return autoregressive_flow(**locals(), transformer="affine", n_layers=1)


def made_mog(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_components: int = 8,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "same",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """MADE with mixtures of Gaussians: p(x) = prod_i sum_k w_ik N(x_i; mu_ik, s_ik^2), all functions of lower ranks.

    One autoregressive layer whose transformer is the mixture's distribution function, over a logistic base.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_components: Gaussians in each conditional.
        base: distribution of shape (dim,); standard logistic by default.
        context_dim, whiten, width, depth, activation, residual, order, method, network, start_at_identity: as for
            `autoregressive_flow`; natural order by default.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of the network; sample about one pass, in D short steps with a root search each.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Papamakarios, Pavlakou & Murray 2017, section 4 (MADE MoG).

    Example:
        >>> import pushforward as pf
        >>> print(pf.made_mog(dim=2, key=0).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    transformer, base = MixtureNormal(n_components), base or Logistic((dim,))
    return autoregressive_flow(**without(locals(), "n_components"), n_layers=1)


def maf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "affine",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Masked autoregressive flow: in every layer x_i = z_i exp(s_i(x of lower rank)) + t_i(x of lower rank).

    Density in one pass, sampling sequential; its inverse is the inverse autoregressive flow (`iaf`). The order changes
    from layer to layer: in one order every conditional of the stack stays unimodal.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: another one instead of the affine one.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network; sample about one pass, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Papamakarios, Pavlakou & Murray 2017, section 3. Deviation: no batch normalisation.

    Example:
        >>> import pushforward as pf
        >>> print(pf.maf(dim=2, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return autoregressive_flow(**locals())


def maf_mog(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    n_components: int = 8,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """MAF whose base is a MADE with mixtures of Gaussians: x = (T_1 o ... o T_L)(MADE MoG sample).

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_layers: number of affine layers, besides the layer with mixtures next to the base.
        n_components: Gaussians in each conditional of that layer.
        base: distribution of shape (dim,); standard logistic by default.
        context_dim, whiten, width, depth, activation, residual, order, method, network, start_at_identity: as for
            `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network; sample about one pass, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Papamakarios, Pavlakou & Murray 2017, sections 3.1 and 4 (MAF MoG).

    Example:
        >>> import pushforward as pf
        >>> print(pf.maf_mog(dim=2, key=0).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    arguments = without(locals(), "key", "n_layers", "n_components", "base")
    base = base or Logistic((dim,))
    flow = autoregressive_flow(**arguments, key=key, transformer="affine", n_layers=n_layers, base=base)
    key_made = jax.random.fold_in(as_key(key), n_layers)
    mixtures = autoregressive_flow(**arguments, key=key_made, transformer=MixtureNormal(n_components), n_layers=1)
    return with_inner_layer(layers_of(mixtures.bijection)[0], flow)


def iaf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "affine",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Inverse autoregressive flow: each layer is the inverse of a layer of `maf`, with parameters that depend on z.

        x_i = (z_i - t_i(z of lower rank)) exp(-s_i(z of lower rank)),   in every layer

    Sampling, with the density of the sample, takes one pass; the density of data is sequential. Here that costs about
    one pass too, so an IAF can be trained by likelihood.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: another one instead of the affine one.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `inverse_autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: sample one pass of every network; log_prob about one pass, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling 2016, section 3.

    Example:
        >>> import pushforward as pf
        >>> print(pf.iaf(dim=2, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return inverse_autoregressive_flow(**locals())
