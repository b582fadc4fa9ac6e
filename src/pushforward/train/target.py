"""Variational inference: fit a flow to a density that is known up to a constant."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from pushforward.bases import Normal
from pushforward.bijections import Affine, Elementwise
from pushforward.core.circles import circular_coordinates
from pushforward.core.ensemble import check_single
from pushforward.core.flow import Flow
from pushforward.core.flow_argument import check_flow_argument
from pushforward.core.state import finalise
from pushforward.diagnostics import ImportanceSample, importance_sample
from pushforward.diagnostics.importance import check_log_density
from pushforward.diagnostics.weights import FEWEST_EFFECTIVE
from pushforward.errors import DataError, NumericError
from pushforward.numerics.arrays import on_device
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.blocks import Block, blocks_of, no_finite_step
from pushforward.train.checks import check_divergences, check_options, check_precision
from pushforward.train.data import as_contexts
from pushforward.train.history import one_line
from pushforward.train.loop import Options, Trainer, train
from pushforward.train.state import finalise_trained
from pushforward.train.target_loss import TargetLoss
from pushforward.train.units import outer_standardise


@dataclasses.dataclass
class TargetHistory:
    """History of a fit to a target, one entry for each block of steps (a fiftieth of them).

    Attributes:
        elbo: mean evidence lower bound over the block's samples, in nats, as the weights change; with annealing
            that of the tempered target.
        seconds: wall time since the start, compilation included.
        learning_rate: at the end of the block (nan with a caller's optimiser).
        stop_reason: "finished" or "interrupted".
        skipped_steps: steps skipped because loss or gradient was not finite, and steps undone by a restart.
        restarts: how often consecutive steps failed, so that training restored a snapshot and halved the learning rate.
        importance: importance sampling from the fitted flow: log evidence, effective sample size, Pareto k, and whether
            to trust them. None for a conditional flow, which has many targets, and where it failed with a warning.
    """

    elbo: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    learning_rate: list[float] = dataclasses.field(default_factory=list)
    stop_reason: str = "finished"
    skipped_steps: int = 0
    restarts: int = 0
    importance: ImportanceSample | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values, with the figures of the importance sample."""
        plain = {name: value for name, value in vars(self).items() if name != "importance"}
        return plain | {"importance": self.importance and self.importance.to_dict()}

    def __repr__(self) -> str:
        return one_line(
            self, blocks=len(self.elbo), elbo=self.elbo[-1] if self.elbo else math.nan,
            seconds=self.seconds[-1] if self.seconds else 0.0, stop_reason=self.stop_reason, importance=self.importance,
        )  # fmt: skip


def fit_target(
    flow: Flow,
    log_density: Callable[..., Array],
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    steps: int = 4000,
    batch_size: int = 256,
    learning_rate: float = 5e-3,
    optimizer: optax.GradientTransformation | None = None,
    clip: float | None = 5.0,
    ema: float | None = 0.99,
    gradient: str = "path",
    forward: float = 0.0,
    annealing: float = 0.5,
    pilot: int = 0,
    n_importance: int = 10_000,
    trainable: PyTree | None = None,
    progress: bool = True,
) -> tuple[Flow, TargetHistory]:
    """Minimise KL(q | p) over a flow q, for a target p known up to a constant: max E_q[log p(x) - log q(x)].

    The gradient is reparametrised: it passes through the samples of the flow. The path derivative omits the part of the
    gradient whose mean is zero; its noise vanishes as q approaches p. The reverse divergence is mode-seeking: a flow
    may cover one mode of several. Against that, anneal, add a share of the forward divergence, and read the Pareto k.

    Args:
        flow: the flow to start from; fitting twice continues.
        log_density: log p of ONE sample of shape `flow.shape`, up to a constant, as a function that JAX can trace. For
            a conditional flow it takes a sample and a context.
        key: a JAX key or an int.
        context: (n, *context_shape) for a conditional flow; each step draws a batch of its rows. Their moments fill the
            standardisation of the context, unless it is filled already.
        steps: number of gradient steps.
        batch_size: samples a step.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam).
        optimizer: any optax optimiser, with its learning rate, instead of Adam and the schedule. One that asks for
            `value` gets the loss of the step: the negative evidence lower bound of the batch at the target's
            power (with `forward` a mean of both divergences), up to the constant log Z. One that searches along the
            loss (L-BFGS with a line search) needs gradient="total" and forward=0; `clip=None` and annealing=0 suit it.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is returned, or None for the last weights.
        gradient: "path" (one more inverse pass for each sample), or "total", which needs only the forward direction and
            is cheaper where the inverse is slow.
        forward: share of the forward divergence KL(p | q) in the loss, by self-normalised importance weights of the
            batch; 0 for the reverse divergence alone, 1 for the forward alone. It needs a flow that overlaps p.
        annealing: share of the steps over which the target's power rises linearly from 0.01 to 1; 0 for none.
        pilot: steps of a Gaussian with independent coordinates that is fitted first; its moments fill the flow's
            `Standardise`, unless it is filled already. For targets far from zero or of very unequal scales.
        n_importance: samples for the estimates in the history.
        trainable: what to train, from `pushforward.freeze(flow, lambda f: f.layers[0])`, as for `fit`.
        progress: show progress (a bar with rich, else a line).

    Returns:
        The fitted flow, and its `TargetHistory`. Ctrl-C returns the weights so far.

    A step whose loss or gradient is not finite is skipped and counted. After 25 consecutive failures training restores
    an earlier state and halves the learning rate, at most five times. Where importance sampling from the fitted flow
    cannot be trusted (`ImportanceSample.doubts`), a warning says why.

    Cost: a step draws and differentiates `batch_size` samples; the path derivative adds as many inverse passes.

    Raises:
        ShapeError: if log_density does not return one number, or the context does not fit.
        ValueError: if an option is out of range, an array of the flow has 16 bits, or `optimizer` does not fit.
        TrainingDiverged: if steps fail repeatedly, for instance where log_density is -inf at samples.

    Reference: Rezende & Mohamed 2015, section 3; path derivative: Roeder, Wu & Duvenaud 2017; forward divergence by
        importance weights: Naesseth, Lindsten & Blei 2020.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> flow, history = pf.fit_target(
        ...     pf.linear_flow(dim=2, key=0), lambda x: -jnp.sum((x - 1) ** 2) / 2, key=0, steps=500, progress=False
        ... )
        >>> print(abs(history.importance.log_evidence - 1.8379) < 0.01)  # log 2 pi
        True
    """
    started = time.perf_counter()
    check_flow_argument("flow", flow, "fit_target(flow, log_density)")
    counts = {"steps": steps, "batch_size": batch_size, "n_importance": n_importance}
    check_options(counts, {"learning_rate": learning_rate, "clip": clip}, ema)
    check_precision("flow", flow)
    check_single("fit_target", "flow", flow)
    check_divergences(gradient, forward, annealing)
    if isinstance(pilot, bool) or not isinstance(pilot, Real) or pilot != int(pilot) or pilot < 0:
        raise ValueError(f"pilot: expected a number of steps, 0 or more, got {pilot!r}.")
    contexts = as_contexts("context", flow, context)
    if contexts is not None and len(contexts) == 0:
        raise DataError("expected at least one row, got none.", "context")
    shapes = [flow.shape] if flow.context_shape is None else [flow.shape, flow.context_shape]
    check_log_density(log_density, *shapes)
    key_pilot, key_steps, key_importance = jax.random.split(as_key(key), 3)
    loss = TargetLoss(log_density, int(batch_size), contexts is not None, gradient == "path", float(forward))
    outer = outer_standardise(flow)
    if pilot and flow.context_shape is None and outer is not None and not outer.is_filled:
        flow = _with_pilot(flow, loss._replace(path=True, forward=0.0), int(pilot), key_pilot)
    if contexts is not None and flow.context_scaling is not None:
        flow = eqx.tree_at(lambda f: f.context_scaling, flow, flow.context_scaling.initialised(contexts))
    objective = TargetObjective(flow, loss, contexts, int(steps), annealing)
    options = Options(float(learning_rate), optimizer, clip, ema, trainable, progress, key_steps, started)
    fitted = finalise_trained(train(flow, objective, options).flow, trainable)
    if flow.context_shape is None:
        sample = _importance(fitted, log_density, max(int(n_importance), 2), key_importance)
        objective.history.importance = sample
    return fitted, objective.history


class TargetObjective:
    """Blocks of steps on samples of the flow; there is no validation value.

    Args:
        flow: before training.
        loss: the loss.
        contexts: (n, *context_shape) of a conditional flow, else None.
        steps: number of steps.
        annealing: share of the steps over which the target's power rises.
    """

    patience = None
    advice = (
        "Where log_density is -inf at samples of the flow, map the flow onto the support (pf.bijections), or train "
        "with forward=1; else use a smaller learning_rate."
    )

    def __init__(self, flow: Flow, loss: TargetLoss, contexts: np.ndarray | None, steps: int, annealing: float) -> None:
        self.loss, self.history = loss, TargetHistory()
        dtype = float_type(flatten(flow)[0])
        self.shared = None if contexts is None else on_device(contexts, dtype), float(annealing * steps)
        self.blocks = blocks_of(steps)

    def start(self, flow: Flow, trainer: Trainer) -> float:
        """No value."""
        return math.nan

    def batches(self, block: Block) -> Iterator[tuple[None, int]]:
        """Steps without data."""
        yield None, len(block.steps)

    def validate(self, flow: Flow, mean: float) -> float:
        """Only the evidence lower bound of the block's samples."""
        self.history.elbo.append(mean)
        return math.nan

    def describe(self, index: int) -> str:
        """Progress after a block."""
        return f"evidence lower bound {self.history.elbo[-1]:.3f}"

    def failure(self) -> str | None:
        """No step was finite."""
        return no_finite_step(self.history, self.blocks)


def _importance(fitted: Flow, log_density: Callable[..., Array], n: int, key: PRNGKeyArray) -> ImportanceSample | None:
    """Importance sampling from the fitted flow, with a warning where it fails or cannot be trusted."""
    try:
        sample = importance_sample(fitted, log_density, n, key=key)
    except NumericError as error:  # the fit is returned nevertheless
        warnings.warn(f"fit_target: no importance sampling by the fitted flow: {error}", stacklevel=3)
        return None
    if n >= FEWEST_EFFECTIVE and (doubts := sample.doubts()):  # fewer samples are too few for a judgement
        warnings.warn(
            f"fit_target: importance sampling by the fitted flow cannot be trusted: {'; '.join(doubts)}. Use more "
            "steps, a more flexible flow, forward=0.3 where the flow may leave out parts of the target, or a larger "
            "n_importance.",
            stacklevel=3,
        )
    return sample


def _with_pilot(flow: Flow, loss: TargetLoss, steps: int, key: PRNGKeyArray) -> Flow:
    """The flow, its `Standardise` filled from a fitted Gaussian of independent coordinates; angles keep their unit."""
    outer: Any = outer_standardise(flow)
    start = Flow(Normal(flow.shape), Elementwise(Affine(), flow.shape))
    objective = TargetObjective(start, loss, None, steps, 0.5)
    try:
        options = Options(0.05, None, 5.0, 0.99, None, False, key, time.perf_counter())
        fitted = finalise(train(start, objective, options).flow)
    except NumericError:  # no sample of the pilot has a finite density: its moments mean nothing
        return flow
    mean, above = (np.asarray(fitted.bijection.forward(jnp.full(flow.shape, z)), np.float64) for z in (0.0, 1.0))
    circular = circular_coordinates(flow.bijection)
    moments = np.where(circular, 0.0, mean), np.where(circular, 1.0, above - mean)
    return eqx.tree_at(outer_standardise, flow, outer.filled(*moments))
