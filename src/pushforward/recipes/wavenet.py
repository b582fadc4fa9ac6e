"""WaveNet and Parallel WaveNet: autoregressive flows of sequences, with dilated causal convolutions."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bases import Logistic
from pushforward.bijections import (
    Affine,
    Chain,
    Companding,
    Elementwise,
    Inverse,
    LinearPrediction,
    MaskedAutoregressive,
    MixtureLogistic,
    Standardise,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import CausalConvolution
from pushforward.numerics.keys import as_key
from pushforward.recipes.autoregressive_flow import ranked
from pushforward.recipes.checks import check_count, check_sizes, without
from pushforward.recipes.network_factory import NetworkFactory, callers_factory, network_arguments, repeated


def wavenet(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    n_frames: int | None = None,
    prediction: int | None = None,
    companding: float | None = None,
    n_layers: int = 1,
    n_components: int = 8,
    width: int = 64,
    depth: int = 10,
    cycle: int = 10,
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """WaveNet: p(x) = prod_t sum_k w_tk logistic(x_t; mu_tk, s_tk), all functions of earlier positions and the context.

    The parameters come from dilated causal convolutions with gated units, whose weights all positions share
    (`CausalConvolution`). The transformer of the layer is the mixture's distribution function, over a logistic base. It
    is the usual teacher of a `parallel_wavenet`. `fit` computes one mean and one scale for all positions; `of_length`
    returns the flow for sequences of another length.

    Args:
        dim: number of coordinates D, the length of a sequence.
        key: a JAX key or an int, for the initial weights.
        context_dim: numbers C in the context, or None.
        n_frames: None for a context (C,), the same for all positions; F for one of shape (F, C), F consecutive frames
            of ceil(D / F) positions each.
        prediction: order of an outer `LinearPrediction` layer, which `fit` fills: training then starts from a linear
            autoregressive process.
        companding: rate of a `Companding` layer before that one, for signals with quiet parts; about 8 for speech.
        n_layers: number of layers, all in the natural order.
        n_components: logistics in each conditional.
        width: channels of the convolutions.
        depth: number of dilated layers; with 10 a position depends on the 1,024 before it, with 20 on 2,047.
        cycle: number of layers after which the dilations 1, 2, 4, ... repeat.
        network: makes each conditioner instead of the convolutions, which width, depth and cycle describe: called as
            network(ranks, out_shape, context_size=..., key=...), see `autoregressive_flow`; with `n_frames` it receives
            contexts (F, C), and context_size is C.
        start_at_identity: as for `autoregressive_flow`.
        method: of `sample`, "cached", "jacobi" or "sequential"; cached if None.
        base: distribution of shape (dim,); standard logistic by default.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of the network, 12 depth width^2 operations a position; sample the same in D short steps,
    with a root search in each.

    Raises:
        ValueError: if an argument is out of range.

    Reference: van den Oord et al. 2016 (WaveNet); mixtures of logistics instead of a softmax over 256 levels: van den
    Oord et al. 2018 (Parallel WaveNet), section 2.1, here without the rounding to levels.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.wavenet(dim=16, width=8, depth=4, key=0)
        >>> print(flow.log_prob(flow.sample(2, key=1)).shape)
        (2,)
    """
    network_arguments(wavenet, locals())
    return _flow(MixtureLogistic(n_components), lambda layer: layer, **without(locals(), "n_components"))


def parallel_wavenet(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    n_frames: int | None = None,
    prediction: int | None = None,
    companding: float | None = None,
    n_layers: int = 4,
    width: int = 64,
    depth: int = 10,
    cycle: int = 10,
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Parallel WaveNet: inverse affine autoregressive layers with dilated causal convolutions over logistic noise.

        x_t = (z_t - m_t(z before t, context)) exp(-s_t(z before t, context)),   in every layer, in the natural order

    A sequence is sampled, with its density, in one pass of each network. The density of data is sequential, at about
    the arithmetic of one pass too.

    Args:
        dim: number of coordinates D, the length of a sequence.
        n_layers: number of affine layers.
        method: of `log_prob`, "cached", "jacobi" or "sequential"; cached if None.
        key, context_dim, n_frames, prediction, companding, width, depth, cycle, network, start_at_identity, base: as
            for `wavenet`.

    Returns:
        A flow of shape (dim,).

    Cost: sample one pass of every network, 12 depth width^2 operations a position; log_prob the same in D short steps a
    layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: van den Oord et al. 2018 (Parallel WaveNet), section 4 and appendix A; Kingma et al. 2016, section 3.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.parallel_wavenet(dim=16, context_dim=3, n_frames=4, width=8, depth=4, key=0)
        >>> print(flow.sample(2, key=1, context=[[0.0, 0.0, 1.0]] * 4).shape)
        (2, 16)
    """
    network_arguments(parallel_wavenet, locals())
    return _flow(Affine(), Inverse, **locals())


def _flow(
    transformer: AbstractBijection, wrap: Callable[[MaskedAutoregressive], AbstractBijection], dim: int, *,
    key: PRNGKeyArray | int, context_dim: int | None, n_frames: int | None, prediction: int | None,
    companding: float | None, n_layers: int, method: str | None, network: NetworkFactory | None,
    start_at_identity: bool, base: AbstractDistribution | None, **sizes: Any,
) -> Flow:  # fmt: skip
    """Wrapped autoregressive layers with causal convolutions in the natural order, with one unit for all positions."""
    network = callers_factory(network, start_at_identity)
    check_count(dim=dim, n_layers=n_layers, **sizes)
    context_shape = _context_shape(context_dim, n_frames)
    make, layers = network or functools.partial(CausalConvolution, n_frames=n_frames, **sizes), []
    for index in range(n_layers):
        key_layer, out_shape = jax.random.fold_in(as_key(key), index), (n_parameters(transformer), dim)
        conditioner = make(np.arange(dim), out_shape, context_size=context_dim or 0, key=key_layer)
        layers.append(wrap(ranked(transformer, conditioner, np.arange(dim), context_shape, method)))
    outer: list[AbstractBijection] = []
    if companding is not None:
        outer += [Standardise((dim,), shared=True), Elementwise(Companding(companding), (dim,))]
    if prediction is not None:
        outer.append(LinearPrediction(dim, prediction))
    flow = Flow(base or Logistic((dim,)), Chain([repeated(layers, network), *outer, Standardise((dim,), shared=True)]))
    if flow.context_shape is None or len(flow.context_shape) == 1:
        return flow
    return eqx.tree_at(lambda f: f.context_scaling, flow, Standardise(flow.context_shape, shared=True, compress=True))


def _context_shape(context_dim: int | None, n_frames: int | None) -> tuple[int, ...] | None:
    check_sizes(context_dim)
    if n_frames is None:
        return None if context_dim is None else (context_dim,)
    if context_dim is None:
        raise ValueError(f"n_frames: expected None without a context, got {n_frames!r}. Pass context_dim= with it.")
    check_count(n_frames=n_frames)
    return (n_frames, context_dim)
