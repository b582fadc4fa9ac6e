"""WaveNet and Parallel WaveNet: autoregressive flows of sequences, with dilated causal convolutions."""

import equinox as eqx
import jax
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
    Repeat,
    Standardise,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import as_key
from pushforward.core.flow import Flow
from pushforward.networks import CausalConvolution
from pushforward.recipes.checks import check_count


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
) -> Flow:
    """WaveNet: p(x) = prod_t sum_k w_tk logistic(x_t; mu_tk, s_tk), all functions of the places before and the context.

    The parameters come from dilated causal convolutions with gated units, whose weights all places share
    (`CausalConvolution`). One layer whose law is the mixture's distribution function, over a logistic base; the usual
    teacher of a `parallel_wavenet`. `fit` takes one mean and one scale for all places; `of_length` gives the same
    conditionals to sequences of another length.

    Args:
        dim: number of coordinates D, the length of a sequence.
        key: a JAX key or an int, for the start weights.
        context_dim: numbers C in the context, or None.
        n_frames: None for a context (C,), the same for all places; F for one of shape (F, C), F frames in turn over
            ceil(D / F) places each.
        prediction: order of a `LinearPrediction` layer outside, which `fit` fills: training then starts from a linear
            autoregressive process.
        companding: rate of a `Companding` layer before that one, for signals with quiet parts; about 8 for speech.
        n_layers: such layers one upon another, all in the natural order.
        n_components: logistics in each conditional.
        width: channels of the convolutions.
        depth: dilated layers; a place sees the 1,024 before it with 10 of them, 2,047 with 20.
        cycle: layers after which the dilations 1, 2, 4, ... begin again.
        method: how `sample` is computed, "cached", "jacobi" or "sequential"; cached if None.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of the network, 12 depth width^2 operations a place; sample the same in D short steps, with
    a root search in each.

    Raises:
        ValueError: if an argument is out of range.

    Reference: van den Oord et al. 2016 (WaveNet); mixtures of logistics in place of a softmax over 256 levels: van den
    Oord et al. 2018 (Parallel WaveNet), section 2.1, here without the rounding to levels.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.wavenet(dim=16, width=8, depth=4, key=0)
        >>> print(flow.log_prob(flow.sample(2, key=1)).shape)
        (2,)
    """
    layers = _layers(
        dim, MixtureLogistic(n_components), key=key, context_dim=context_dim, n_frames=n_frames, n_layers=n_layers,
        width=width, depth=depth, cycle=cycle, method=method,
    )  # fmt: skip
    return _flow(Repeat(layers), prediction, companding)


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
) -> Flow:
    """Parallel WaveNet: inverse affine autoregressive layers with dilated causal convolutions over logistic noise.

        x_t = (z_t - m_t(z before t, context)) exp(-s_t(z before t, context)),   in every layer, in the natural order

    A whole sequence is drawn, with its density, in one pass of each network. Data are scored in order, at about the
    arithmetic of one pass too.

    Args:
        dim: number of coordinates D, the length of a sequence.
        n_layers: affine layers.
        method: how `log_prob` is computed, "cached", "jacobi" or "sequential"; cached if None.
        key, context_dim, n_frames, prediction, companding, width, depth, cycle: as for `wavenet`.

    Returns:
        A flow of shape (dim,).

    Cost: sample one pass of every network, 12 depth width^2 operations a place; log_prob the same in D short steps a
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
    layers = _layers(
        dim, Affine(), key=key, context_dim=context_dim, n_frames=n_frames, n_layers=n_layers, width=width, depth=depth,
        cycle=cycle, method=method,
    )  # fmt: skip
    return _flow(Repeat([Inverse(layer) for layer in layers]), prediction, companding)


def _layers(
    dim: int,
    law: AbstractBijection,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None,
    n_frames: int | None,
    n_layers: int,
    width: int,
    depth: int,
    cycle: int,
    method: str | None,
) -> list[MaskedAutoregressive]:
    """Autoregressive layers of one scalar law, with causal convolutions in the natural order."""
    check_count(dim=dim, n_layers=n_layers, width=width, depth=depth, cycle=cycle)
    context_shape = _context_shape(context_dim, n_frames)
    layers = []
    for index in range(n_layers):
        network = CausalConvolution(
            dim, n_parameters(law), width=width, depth=depth, cycle=cycle, context_shape=context_shape,
            key=jax.random.fold_in(as_key(key), index),
        )  # fmt: skip
        layers.append(MaskedAutoregressive(law, network, context_shape=context_shape, method=method))
    return layers


def _flow(stack: Repeat, prediction: int | None, companding: float | None) -> Flow:
    """Over a logistic base, in units that all places share."""
    (dim,) = stack.shape
    companded = [Standardise((dim,), shared=True), Elementwise(Companding(companding or 1.0), (dim,))]
    outer = [
        *([] if companding is None else companded),
        *([] if prediction is None else [LinearPrediction(dim, prediction)]),
        Standardise((dim,), shared=True),
    ]
    flow = Flow(Logistic((dim,)), Chain([stack, *outer]))
    if flow.context_shape is None or len(flow.context_shape) == 1:
        return flow
    return eqx.tree_at(lambda f: f.context_scaling, flow, Standardise(flow.context_shape, shared=True, compress=True))


def _context_shape(context_dim: int | None, n_frames: int | None) -> tuple[int, ...] | None:
    if n_frames is None:
        if context_dim is None:
            return None
        check_count(context_dim=context_dim)
        return (context_dim,)
    if context_dim is None:
        raise ValueError(f"n_frames: expected None without a context, got {n_frames!r}. Pass context_dim= with it.")
    check_count(context_dim=context_dim, n_frames=n_frames)
    return (n_frames, context_dim)
