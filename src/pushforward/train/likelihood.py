"""Maximum likelihood: fit a flow to rows of data."""

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.ensemble import Ensemble
from pushforward.core.flow_argument import check_flow_argument
from pushforward.numerics.keys import as_key
from pushforward.train.checkpoint import Checkpoint
from pushforward.train.checks import check_options, check_precision, check_unstacked
from pushforward.train.comparison import (
    compare_with_baselines,
    count_copies,
    describe_baseline,
    report_baselines,
)
from pushforward.train.ensemble import train_members
from pushforward.train.epochs import Epochs, default_learning_rate, generator, train_on_rows
from pushforward.train.history import EnsembleHistory, History
from pushforward.train.loop import Options
from pushforward.train.prepare import PreparedRows, prepare
from pushforward.train.progress import print_line
from pushforward.train.refit import fitted_to_all_rows, is_worthwhile
from pushforward.train.start import baselines, marginal_start, may_start_jointly, whitened_start
from pushforward.train.units import initialise_flow

AnyFlow = TypeVar("AnyFlow", bound=AbstractDistribution)


def fit(
    flow: AnyFlow,
    x: Any,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    weights: Any = None,
    groups: Any = None,
    validation: float | Any = 0.1,
    refit: bool | None = None,
    batch_size: int | None = None,
    max_epochs: int | None = None,
    max_seconds: float | None = None,
    patience: int | None = None,
    learning_rate: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    loss: Callable[..., Any] | None = None,
    clip: float | None = 5.0,
    ema: float | None = 0.98,
    trainable: PyTree | None = None,
    start: str = "auto",
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[AnyFlow, History]:
    """Maximum likelihood: maximise the weighted mean of log p(x_i | c_i) over the rows by mini-batch gradients.

    Rows are standardised on the host in float64 (the flow's `Standardise` is filled; a second fit keeps it), so
    training does not depend on the units of the data. A step whose loss or gradient is not finite is skipped and
    counted. After 25 consecutive failures training restores the state of up to 130 steps before, and halves the
    learning rate, at most five times. The weights of the epoch with the best validation likelihood are returned, or
    those of the start where no epoch is better.

    Args:
        flow: the flow to start from, or a `Dequantised` flow for integers; fitting twice continues. A `Mixture` of
            flows is trained as one density. The members of an `Ensemble` are trained at once, compiled once, each by
            its own likelihood, with the same validation rows and start, and with initial weights, an order of the rows
            and early stopping of its own.
        x: (n, *shape): NumPy or JAX array, pandas or polars frame, or anything with DLPack. Columns of a frame are
            taken by position; `FlowDensity` also checks their names.
        key: a JAX key or an int; it decides the split, the order of the rows and dropout.
        context: (n, *context_shape) for a conditional flow.
        weights: (n,) non-negative sample weights.
        groups: (n,) labels (numbers, text, anything that can be hashed; a column of a frame): rows with one label are
            all validation rows or all training rows. Groups are visited in random order. Each becomes a validation
            group if that brings the share of rows nearer to `validation`; a group of twice that many rows or more is
            used for training. By default rows are drawn independently, equal rows too.
        validation: share of rows for validation, or validation rows: x, or (x, context) for a conditional flow, such as
            the latest of a series. With 0 there are no validation rows and no early stopping.
        refit: whether the flow is fitted once more to all rows, validation rows included, from the same start and for
            as many epochs as validation has chosen; by default for fewer than 5,000 rows, where a tenth more of them
            gains more than it costs. Only where `validation` is a share; not for an ensemble, and not with
            `max_seconds`, unless a baseline is returned. The likelihoods in the history are those before.
        batch_size: rows in a step (fewer when there are fewer rows); by default 256, or 64 for fewer than 5,000 rows.
        max_epochs: passes over the data; by default as many as make 6,000 steps, 300 passes at most. With few rows an
            epoch holds several passes, at least 10 steps.
        max_seconds: time for the call, compilation included. As many steps are planned, for the learning rate too, as
            the speed of the last ones allows; at most 300 passes (or `max_epochs`), since few rows gain nothing from
            more. Two runs with one key differ, as their speeds do; with `max_epochs` alone they are equal. An epoch of
            the history is then a block of steps, about a fiftieth of the run.
        patience: epochs without a better validation likelihood before training stops; by default 1,500 steps' worth
            (20 blocks with `max_seconds`).
        learning_rate: peak of the cosine schedule of the default optimiser (Adam); by default 5e-3, times
            (n / 5000)^1.25 for fewer than 5,000 training rows, which are over-fitted within few steps.
        optimizer: any optax optimiser, with its learning rate, instead of Adam and the schedule. One that asks for
            `value` gets the loss of the step: the batch's mean negative log-likelihood in nats, in the units
            of training, where the columns are standardised; it may be negative. One that searches along the loss
            (L-BFGS) searches on the same batch; a large batch_size and `clip=None` suit it.
        loss: a function (flow, x, context, key) that JAX can trace, minimised instead of the mean negative
            log-likelihood: one value for each row of the batch x, or one number for the batch. Flow and rows are in the
            units of the data, in the flow's precision; context is None for an unconditional flow; key is a fresh JAX
            key at every step, and the same one at every validation. Early stopping and the returned weights go by the
            loss of the validation rows (in batches of batch_size rows); the history has minus the losses. Training
            starts from the flow as given, and baselines are not compared.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is validated and returned, or None to use
            the last weights. The average is as good at the end, and varies much less during training.
        trainable: what to train, from `pushforward.freeze(flow, lambda f: f.layers[0])`: a tree of bools, or of arrays
            of bools for parts of arrays, like `pushforward.trainable(flow)`. With one, `start` is "given". For an
            ensemble that of one member, `pushforward.freeze(flows[0], ...)`, holds for all.
        start: "auto" lets `fit` choose where training starts, for recipes of vectors over a standard normal base with
            `whiten` not False. If the other columns and the context explain more than nine tenths of a column's
            variance, the flow gets a `Whiten` layer (and a `LinearRegression` on the context), provided that the full
            Gaussian is then likelier on the validation rows by more than a standard error (on the training rows if
            there are no validation rows). A flow that ends below a full Gaussian or a mixture of normals (its size
            chosen by the BIC), by more than a standard error and 0.01 nats, is trained again from that baseline: the
            mixture becomes its base. If flow and baseline differ by less, the baseline is returned, fitted again to all
            rows if `validation` is a share of them; the progress says so. An ensemble starts alike, but is not replaced
            by a baseline, whose copies would not disagree: a warning says so where it is below. "given" trains the flow
            unchanged.
        checkpoint: folder for checkpoints of the training, every five minutes and at its end (`pip install
            "pushforward[scale]"`), or None. Not for an ensemble yet.
        resume: whether to continue the run whose checkpoints are in the folder, with the same arguments: by epochs it
            ends with the same bits as a run without a break. Without checkpoints there the run starts afresh.
        progress: show progress on standard error (a bar with rich, else lines).

    A warning names the columns whose values repeat, because there a density is unbounded: more than 5 % of the rows,
    and more than three, repeat a value that about one row in a thousand has, or more. Where such values lie on a
    lattice, as rounded values and integers do, the rows are fitted with uniform noise over a step (except where the
    outermost layer of the flow restricts its support); the history's likelihoods are of the noisy rows.

    Returns:
        The fitted flow, and its `History` (an `EnsembleHistory` for an ensemble, with those of its members). Ctrl-C
        returns the best weights so far.

    Raises:
        DataError: NaN or infinite values, constant or linearly dependent columns (both are allowed for integers),
            values that are no levels, too few rows.
        ShapeError: if shapes do not fit the flow.
        CheckpointError: if the folder of checkpoints is not empty without `resume`, or holds another run.
        ValueError: if an option is out of range, an array of the flow has 16 bits, or `optimizer` or `loss` does not
            fit.
        TrainingDiverged: if steps fail repeatedly; names the epoch and the learning rate.

    Reference: Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2017 (cosine schedule); Pascanu et al. 2013 (clipping).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
        >>> flow, history = pf.fit(pf.nice(dim=2, n_layers=2, width=8, key=0), x, key=0, max_epochs=1, progress=False)
        >>> len(history.validation)
        1
    """
    started = time.perf_counter()
    check_flow_argument("flow", flow, "fit(flow, x)")
    if start not in ("auto", "given"):
        raise ValueError(f"start: expected 'auto' or 'given', got {start!r}.")
    counts = {"batch_size": batch_size, "max_epochs": max_epochs, "patience": patience}
    check_options(counts, {"learning_rate": learning_rate, "clip": clip, "max_seconds": max_seconds}, ema)
    check_precision("flow", flow)
    check_unstacked(flow)
    key_split, key_steps = jax.random.split(as_key(key))
    random = generator(key_split)
    data, noisy = prepare(flow, x, context, weights, groups, validation, random)
    is_ensemble = isinstance(flow, Ensemble)
    history = (EnsembleHistory if is_ensemble else History)(
        n_train=len(data.train),
        n_validation=len(data.validation or ()),
        gaussian=data.gaussian if loss is None else math.nan,
    )
    flow = initialise_flow(flow, noisy)
    initial: Any = flow
    plain = flow  # from which baselines start
    may_choose_start = start == "auto" and trainable is None and loss is None and may_start_jointly(flow)
    if may_choose_start:
        plain = whitened_start(flow, noisy, data.validation)
        initial = marginal_start(plain, noisy, data.validation)
        history.start_from = "margins" if initial is not plain else "columns" if plain is flow else "gaussian"
    del noisy
    rate = default_learning_rate(len(data.train)) if learning_rate is None else float(learning_rate)
    storage = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
    options = Options(rate, optimizer, clip, ema, trainable, progress, key_steps, started, checkpoint=storage)
    deadline = None if max_seconds is None else started + float(max_seconds)
    epochs = Epochs(
        batch_size and int(batch_size), max_epochs and int(max_epochs), patience and int(patience), random, deadline
    )
    train_rows: Any = train_members if is_ensemble else train_on_rows
    train = functools.partial(train_rows, data=data, epochs=epochs, options=options, loss=loss)
    is_comparable, known, found = may_choose_start and data.validation is not None, None, None
    if is_comparable and deadline is not None and data.validation is not None and not is_ensemble:  # within the time
        known = baselines(plain, data.train, data.validation, 0, data.replicates)
    fitted, history = train(initial, history)
    is_comparable = is_comparable and history.stop_reason != "interrupted"
    if is_comparable and is_ensemble:
        report_baselines(fitted, plain, data, history)
    elif is_comparable:
        fitted, history, found = compare_with_baselines(fitted, plain, data, history, train, known)
    if loss is None:
        count_copies(fitted, data, history)
    is_untrained = found is not None and history.best_epoch < 0
    may_refit = is_worthwhile((is_untrained and refit is None) or refit, data) and not is_ensemble
    if may_refit and (deadline is None or is_untrained) and history.stop_reason != "interrupted":
        fitted = fitted_to_all_rows(fitted, initial if found is None else plain, data, history, found, epochs, train)
    if progress and is_untrained and not isinstance(x, PreparedRows):  # commands on tables say it themselves
        print_line(describe_baseline(fitted, history))
    result: Any = fitted
    return result, history
