"""Maximum likelihood: what `fit` promises about data, seeds, units, failures and compilation. Flows are tiny."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest

import pushforward as pf
from pushforward.bijection import AbstractBijection
from pushforward.bijections import Chain, Conditional, Elementwise, Repeat, Standardise
from pushforward.bijections.elementwise import Affine
from pushforward.errors import DataError, ShapeError, TrainingDiverged
from pushforward.fields import fixed
from pushforward.networks import MLP
from pushforward.state import finalise, initialise, refresh
from pushforward.train import likelihood
from pushforward.train.data import Rows, gaussian_nats, split

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(seconds) if event.endswith("backend_compile_duration") else None
)


def flow_2d(seed=0):
    return pf.nice(dim=2, n_layers=2, width=8, depth=1, key=seed)


def data(n=400, seed=0, dim=2):
    """A bent cloud: the second column depends on the square of the first."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, dim))
    x[:, 1:] += 0.5 * x[:, :1] ** 2
    return x


def fit(x, flow=None, **options):
    """One epoch of a tiny flow, quiet; every default may be overruled."""
    options = {"key": 0, "batch_size": 50, "max_epochs": 1, "validation": data(64, 9), "progress": False} | options
    return pf.fit(flow_2d() if flow is None else flow, x, **options)


def numbers(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(flow) if eqx.is_array(leaf)]


def trained_numbers(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(flow, pf.trainable(flow)))]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


class Brittle(AbstractBijection):
    """The identity, whose log-determinant is NaN beyond a bound, and in training only (when there is a key)."""

    bound: np.ndarray = fixed()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: None = eqx.field(static=True)

    def __init__(self, bound):
        self.bound, self.shape, self.context_shape = np.asarray(bound, np.float32), (2,), None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z, jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        fails = jnp.any(jnp.abs(x) > self.bound) if key is not None else False
        return x, jnp.where(fails, jnp.nan, jnp.zeros((), x.dtype))


class Remembering(AbstractBijection):
    """x = z + start + shift: `start` is the mean of the rows it first sees, `rounds` counts refreshes."""

    shift: jax.Array
    start: jax.Array = fixed()
    rounds: jax.Array = fixed()
    sealed: jax.Array = fixed()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: None = eqx.field(static=True)

    def __init__(self, dim=2):
        self.shift, self.start = jnp.zeros(dim), jnp.zeros(dim)
        self.rounds, self.sealed = jnp.zeros(()), jnp.zeros(())
        self.shape, self.context_shape = (dim,), None

    def initialised(self, x, context):
        return eqx.tree_at(lambda s: s.start, self, jnp.asarray(x.mean(0), self.start.dtype))

    def refreshed(self):
        return eqx.tree_at(lambda s: s.rounds, self, self.rounds + 1)

    def finalised(self):
        return eqx.tree_at(lambda s: s.sealed, self, self.rounds)

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.start + self.shift, jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.start - self.shift, jnp.zeros((), x.dtype)


def brittle_flow(bound):
    stack = flow_2d().bijection.bijections
    return pf.Flow(pf.bases.Normal((2,)), Chain([*stack[:-1], Brittle(bound), stack[-1]]))


# What comes out


def test_the_history_says_what_happened():
    flow, history = fit(data(), max_epochs=3)
    assert history.n_train == 400
    assert history.n_validation == 64
    assert history.batch_size == 50
    assert {len(c) for c in (history.train, history.validation, history.seconds, history.learning_rate)} == {3}
    assert history.stop_reason == "finished"
    assert history.skipped_steps == 0
    assert history.best_epoch == int(np.argmax(history.validation))
    assert history.best_validation == max(history.validation)
    assert history.seconds == sorted(history.seconds)
    assert 0 <= history.compile_seconds < history.seconds[0]
    assert 2e-3 > history.learning_rate[0] > history.learning_rate[1] > history.learning_rate[2] >= 0
    assert history.to_dict()["best_epoch"] == history.best_epoch
    # the likelihoods are those of the flow returned, in the data's own units
    scores = np.asarray(flow.log_prob(data(64, 9)), np.float64)
    assert abs(scores.mean() - history.best_validation) < 1e-5


def test_the_likelihood_rises_and_the_original_is_untouched():
    start = flow_2d()
    before = [leaf.copy() for leaf in numbers(start)]
    _, history = fit(data(), start, max_epochs=4, learning_rate=1e-2)
    assert history.train[-1] > history.train[0] + 0.05
    assert same(numbers(start), before)


def test_fitting_twice_continues_and_keeps_the_units():
    first, history = fit(data(), max_epochs=20, learning_rate=1e-2, validation=0)
    second, more = fit(10 + data(seed=1), first, learning_rate=1e-5, validation=data(64, 9))
    assert same([first.bijection.bijections[-1].mean], [second.bijection.bijections[-1].mean])
    third, more = fit(data(), first, learning_rate=1e-3, validation=0)
    assert more.train[0] > history.train[0] + 0.03
    assert not same(trained_numbers(first), trained_numbers(third))


def test_early_stopping_returns_the_best_weights(monkeypatch):
    values = iter([-4.0, -3.0, -1.0, -2.0, -2.5, -0.5])  # the first is that of the start
    seen = []

    def planted(flow, held):
        seen.append(trained_numbers(flow))
        return next(values)

    monkeypatch.setattr(likelihood, "_held_nats", planted)
    flow, history = fit(data(), max_epochs=5, patience=2)
    assert history.stop_reason == "early stopping"
    assert history.best_epoch == 1
    assert len(history.validation) == 4
    assert same(trained_numbers(flow), seen[2])


def test_the_start_is_returned_where_nothing_was_better(monkeypatch):
    values = iter([-1.0, -3.0, np.nan, -2.0])
    monkeypatch.setattr(likelihood, "_held_nats", lambda flow, held: next(values))
    flow, history = fit(data(), max_epochs=3)
    assert history.best_epoch == -1
    assert history.best_validation == history.start
    assert same(trained_numbers(flow), trained_numbers(flow_2d()))


def test_ctrl_c_returns_the_best_so_far(monkeypatch):
    scored, seen = likelihood._held_nats, []

    def interrupted(flow, held):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(trained_numbers(flow))
        return scored(flow, held)

    monkeypatch.setattr(likelihood, "_held_nats", interrupted)
    flow, history = fit(data(), max_epochs=5)
    assert history.stop_reason == "interrupted"
    assert len(history.validation) == 2
    assert same(trained_numbers(flow), seen[1 + history.best_epoch])


# Seeds and units


def test_two_fits_are_identical_bit_for_bit_and_touch_no_global_state():
    state = np.random.get_state()[1].copy()
    flows = [fit(data(), key=7, validation=0.2, max_epochs=2)[0] for _ in range(2)]
    assert same(numbers(flows[0]), numbers(flows[1]))
    assert same([state], [np.random.get_state()[1]])
    other, _ = fit(data(), key=8, validation=0.2, max_epochs=2)
    assert not same(trained_numbers(flows[0]), trained_numbers(other))


def test_a_key_may_be_an_int_or_a_key():
    left, right = (fit(data(), key=key)[0] for key in (3, jax.random.key(3)))
    assert same(numbers(left), numbers(right))


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 0.1, 1e3, 1e12])
def test_training_does_not_depend_on_the_units(scale):
    x, held = data(), data(64, 9)
    plain, _ = fit(x)
    scaled, history = fit(scale * x + 3 * scale, validation=scale * held + 3 * scale)
    assert same(trained_numbers(plain), trained_numbers(scaled))
    shift = 2 * np.log(scale)
    moved = np.asarray(scaled.log_prob(scale * held + 3 * scale)) + shift
    assert np.abs(moved - np.asarray(plain.log_prob(held))).max() < 2e-4 + 4e-6 * abs(shift)  # float32 scores
    assert abs(history.gaussian + shift - gaussian_nats(Rows(x, None, None), Rows(held, None, None))) < 1e-6


def test_columns_of_very_different_scale_and_a_far_offset():
    units = np.array([1.0, 1e-6])
    _, history = fit(data())
    _, mixed = fit(data() * units, validation=data(64, 9) * units)
    assert abs(mixed.validation[0] - history.validation[0] + np.log(units).sum()) < 1e-4
    with pytest.warns(UserWarning, match=r"column 0 has a mean more than 10,000 times its spread"):
        _, far = fit(data() + 1e9, validation=data(64, 9) + 1e9)
    assert abs(far.validation[0] - history.validation[0]) < 1e-3


# Compilation


def test_the_number_of_rows_compiles_nothing_new():
    fit(data(300))
    before = len(COMPILED)
    for n in (400, 777, 123):
        fit(data(n, seed=n), flow_2d(seed=n), learning_rate=5e-3, max_epochs=2, key=n)
    assert len(COMPILED) == before
    fit(data(300), batch_size=51)
    assert len(COMPILED) > before


def test_a_fit_compiles_few_programs():
    before = len(COMPILED)
    fit(data(), pf.nice(dim=2, n_layers=2, width=9, depth=1, key=0))
    assert len(COMPILED) - before <= 12  # one to train, one to score, a few of one operation


# Options


def test_weights_count_rows():
    x = data(100)
    doubled, ones = np.concatenate([x, x[:50]]), np.r_[np.full(50, 2.0), np.ones(50)]
    weighted = gaussian_nats(Rows(x, None, ones), Rows(x, None, None))
    assert abs(weighted - gaussian_nats(Rows(doubled, None, None), Rows(x, None, None))) < 1e-9
    # rows of weight zero are as if they were not there
    both = np.concatenate([x, 100 + x])
    zeroed, history = fit(both, weights=np.r_[np.ones(100), np.zeros(100)])
    assert history.n_train == 100
    alone, _ = fit(x, weights=np.ones(100))
    assert same(trained_numbers(zeroed), trained_numbers(alone))
    # and only ratios count
    left, right = (fit(x, weights=factor * ones)[0] for factor in (1.0, 4.0))
    assert same(trained_numbers(left), trained_numbers(right))


def test_weights_pull_the_density_over():
    x = np.concatenate([data(200) - 4, data(200, 1) + 4])
    favoured = {side: np.where(np.arange(400) < 200, 1.0 - side, side) for side in (0.1, 0.9)}
    flows = {
        side: fit(x, weights=w, max_epochs=20, learning_rate=2e-2, validation=0)[0] for side, w in favoured.items()
    }
    at = np.array([[4.0, 4.5]])
    assert flows[0.9].log_prob(at)[0] > flows[0.1].log_prob(at)[0] + 0.5


def test_frozen_parts_stand_still():
    flow = flow_2d()
    chosen = pf.trainable(flow)
    chosen = eqx.tree_at(
        lambda f: f.bijection.bijections[1], chosen, replace_fn=lambda n: jax.tree.map(lambda _: False, n)
    )
    fitted, _ = fit(data(), flow, trainable=chosen)
    start, end = flow.bijection.bijections, fitted.bijection.bijections
    assert same(numbers(start[1]), numbers(end[1]))
    assert not same(numbers(start[0]), numbers(end[0]))


def test_an_average_of_the_weights_is_returned():
    plain, _ = fit(data(), learning_rate=1e-2, validation=0)
    averaged, _ = fit(data(), learning_rate=1e-2, validation=0, ema=0.9)
    start = trained_numbers(flow_2d())
    moved = [
        sum(np.abs(a - b).sum() for a, b in zip(trained_numbers(f), start, strict=True)) for f in (plain, averaged)
    ]
    assert 0 < moved[1] < moved[0]


@pytest.mark.parametrize("optimizer", [optax.sgd(1e-2, momentum=0.9), optax.adamw(1e-3)], ids=["sgd", "adamw"])
def test_any_optax_optimiser(optimizer):
    _, history = fit(data(), optimizer=optimizer, max_epochs=8, validation=data())
    assert history.best_validation > history.start
    assert np.isnan(history.learning_rate).all()


def test_nothing_held_out():
    _, history = fit(data(), validation=0, max_epochs=2)
    assert history.validation == []
    assert history.n_validation == 0
    assert history.best_epoch == 1
    assert history.best_validation == history.train[-1]


def test_a_conditional_flow_with_given_validation():
    random = np.random.default_rng(0)
    context = random.uniform(90, 110, (400, 1))
    x = np.hstack([context / 10, -context / 10]) + 0.1 * random.standard_normal((400, 2))
    flow = pf.nice(dim=2, n_layers=2, width=8, depth=1, context_dim=1, key=0)
    held = (x[:64], context[:64])
    flow, history = fit(x, flow, context=context, validation=held, max_epochs=100, learning_rate=2e-2)
    # the Gaussian floor is linear in the context: it knows this law
    entropy = np.log(2 * np.pi * np.e * 0.01)
    assert abs(history.gaussian + entropy) < 0.15
    assert history.best_validation > -entropy - 1.0
    near, far = (flow.log_prob(np.array([[10.0, -10.0]]), np.array([[c]]))[0] for c in (100.0, 105.0))
    assert near > far + 1


def test_one_dimension():
    x = 5 + 2 * np.random.default_rng(0).standard_normal((400, 1))
    flow = pf.elementwise_flow(dim=1, transformer="affine", key=0)
    _, history = fit(x, flow, validation=0.2, max_epochs=2)
    assert abs(history.best_validation - history.gaussian) < 0.05
    with pytest.raises(ShapeError, match=r"Pass x\[:, None\]"):
        fit(x[:, 0], flow)


# The Gaussian floor


def test_the_gaussian_floor_is_the_closed_form():
    random = np.random.default_rng(1)
    mixing = np.array([[1.0, 0.0, 0.0], [0.7, 0.5, 0.0], [-2.0, 0.1, 30.0]])
    x, y = random.standard_normal((200, 3)) @ mixing.T, random.standard_normal((80, 3)) @ mixing.T
    mean, covariance = x.mean(0), np.cov(x, rowvar=False, bias=True)
    rest = y - mean
    mahalanobis = np.einsum("ni,ij,nj->n", rest, np.linalg.inv(covariance), rest)
    expected = -0.5 * (mahalanobis.mean() + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert abs(gaussian_nats(Rows(x, None, None), Rows(y, None, None)) - expected) < 1e-6


# Failures


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    x = data()
    x[17] = 50.0
    flow, history = fit(x, brittle_flow(8.0), max_epochs=2)
    # 400 rows are 8 steps, two passes an epoch: the planted row spoils one step of each pass
    assert history.skipped_steps == 2 * 2
    assert np.isfinite(history.train).all()
    assert all(np.isfinite(leaf).all() for leaf in numbers(flow))
    assert not same(trained_numbers(flow), trained_numbers(brittle_flow(8.0)))


def test_failing_again_and_again_is_told():
    with pytest.raises(TrainingDiverged, match=r"epoch 1 at learning rate 0\.005"):  # 25 steps are more than an epoch
        fit(data(), brittle_flow(0.0), learning_rate=5e-3, max_epochs=3)
    with pytest.raises(TrainingDiverged, match="no epoch of 1 had a finite likelihood"):
        fit(data(), brittle_flow(0.0))


def test_a_wild_learning_rate_gives_finite_weights_or_a_sentence():
    try:
        flow, history = fit(data(), learning_rate=1e3, clip=None, max_epochs=2)
    except TrainingDiverged as error:
        sentence = str(error)
    else:
        assert all(np.isfinite(leaf).all() for leaf in numbers(flow))
        assert np.isfinite(history.best_validation)
        return
    assert "learning rate 1000" in sentence


def test_no_finite_held_out_likelihood_is_told(monkeypatch):
    monkeypatch.setattr(likelihood, "_held_nats", lambda flow, held: np.nan)
    with pytest.raises(TrainingDiverged, match="no epoch of 2 had a finite likelihood"):
        fit(data(), max_epochs=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "context", "validation", "weights"])
def test_rows_that_are_not_finite_are_named(where, value):
    flow = pf.nice(dim=2, n_layers=2, width=8, context_dim=1, key=0)
    given = {"x": data(60), "context": data(60)[:, :1], "weights": np.ones((60, 1)), "validation": data(60)}
    given[where][12, -1] = value
    x, held = given.pop("x"), (given.pop("validation"), given["context"][:60].copy())
    if where == "context":
        held[1][:] = 0.0
    given["weights"] = given["weights"][:, 0]
    with pytest.raises(DataError, match=rf"{where}: expected finite numbers.* in column . at row 12 \(1 of 60 rows"):
        fit(x, flow, validation=held, **given)


def test_columns_of_a_frame_are_named():
    x = data(60)
    frame = pl.DataFrame({"width": x[:, 0], "height": x[:, 1]})
    flow, _ = fit(frame)
    array, _ = fit(x)
    assert same(numbers(flow), numbers(array))
    with pytest.raises(DataError, match="column 'height' is constant"):
        fit(frame.with_columns(height=pl.lit(3.0)))
    with pytest.raises(DataError, match="nan in column 'width' at row 0"):
        fit(frame.with_columns(width=pl.lit(float("nan"))))
    with pytest.raises(DataError, match="expected numbers"):
        fit(frame.with_columns(width=pl.lit("wide")))


def test_linear_dependence_is_named():
    x = data(60)
    with pytest.raises(DataError, match=r"columns 0, 1, 2 are linearly dependent"):
        fit(np.c_[x, x.sum(1)], pf.nice(dim=3, key=0))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows(n):
    with pytest.raises(DataError, match=f"at least 2 rows to fit, got {n}"):
        fit(data(n))


@pytest.mark.parametrize("n", [3, 7, 19])
def test_a_handful_of_rows_trains_with_a_warning(n):
    with pytest.warns(UserWarning, match="too few to hold some out"):
        flow, history = fit(data(n), validation=0.1, batch_size=n)
    assert history.n_train == n
    assert np.isfinite(flow.log_prob(data(5))).all()


def test_more_columns_than_rows():
    with pytest.warns(UserWarning, match="20 rows in 50 dimensions"):
        flow, _ = fit(data(20, dim=50), pf.nice(dim=50, n_layers=2, width=8, key=0), validation=0)
    assert np.isfinite(flow.log_prob(data(5, dim=50))).all()


def test_copies_of_rows_stay_on_one_side():
    x = np.repeat(data(50), 20, axis=0)
    with pytest.warns(UserWarning, match="950 of 1000 rows are copies of others"):
        train, held = split(Rows(x, None, None), 0.1, np.random.default_rng(0))
    assert len(train) + len(held) == 1000
    assert 0 < len(held) <= 20 * 50 * 0.99
    assert not {tuple(row) for row in train.x} & {tuple(row) for row in held.x}
    # rows with equal x and another context are no copies
    train, held = split(Rows(x, data(1000)[:, :1], None), 0.1, np.random.default_rng(0))
    assert len(held) == 100


def test_rows_without_copies_are_split_at_random():
    x = data(200)
    train, held = split(Rows(x, None, np.arange(200.0)), 0.25, np.random.default_rng(3))
    assert (len(train), len(held)) == (150, 50)
    assert sorted([*train.weights, *held.weights]) == list(range(200))
    assert same([x[train.weights.astype(int)]], [train.x])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"patience": 0}, "patience"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": np.nan}, "learning_rate"),
        ({"clip": -1.0}, "clip"),
        ({"ema": 1.0}, "ema"),
        ({"validation": 1.0}, "validation"),
        ({"validation": 0.999}, "nothing is left to train on"),
        ({"validation": np.zeros((0, 2))}, "at least one row"),
        ({"validation": np.zeros((5, 3))}, r"validation: expected shape \(n, 2\), got \(5, 3\)"),
        ({"weights": np.ones(3)}, "weights: expected 400 rows"),
        ({"weights": -np.ones(400)}, "non-negative"),
        ({"weights": np.zeros(400)}, "positive sum"),
        ({"context": data()}, r"context: expected none \(the flow is unconditional\)"),
        ({"trainable": True}, "tree of bools"),
        ({"trainable": jax.tree.map(lambda _: False, flow_2d())}, "at least one trained array"),
    ],
)
def test_an_argument_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(data(), **options)


def test_values_outside_the_box_of_the_splines_are_told():
    flow, _ = fit(data(), pf.elementwise_flow(dim=2, key=0))
    with pytest.warns(UserWarning, match="of the standardised values lie outside the splines' box"):
        fit(10 * data(), flow)  # a second fit keeps the units of the first


# State that layers keep


def stateful():
    return Chain(
        [Repeat([Remembering(), Remembering()]), Elementwise(Affine(), (2,)), Remembering(), Standardise((2,))]
    )


def test_initialise_goes_from_the_data_inwards():
    x = data(100) + 7
    start = initialise(stateful(), x)
    repeat, _, outer, units = start.bijections
    assert np.allclose(units.mean, x.mean(0), rtol=0, atol=1e-12)
    assert np.abs(outer.start).max() < 1e-6  # sees standardised rows
    assert np.abs(repeat.layers.start).max() < 1e-6
    # without standardisation the outermost takes the mean, and those behind it see what is left
    bare = initialise(Chain(stateful().bijections[:3]), x)
    assert np.allclose(bare.bijections[2].start, x.mean(0), atol=1e-5)
    assert np.abs(bare.bijections[0].layers.start).max() < 1e-5
    within = initialise(Repeat([Remembering(), Remembering()]), x)
    assert np.allclose(within.layers.start[1], x.mean(0), atol=1e-5)
    assert np.abs(within.layers.start[0]).max() < 1e-5


def test_initialise_refuses_what_data_cannot_pass():
    scaled = Conditional(Elementwise(Affine(), (2,)), MLP(1, (4,), width=4, depth=1, key=jax.random.key(0)), (1,))
    assert initialise(scaled, data(5), data(5)[:, :1]) is scaled
    with pytest.raises(ShapeError, match="Inverse holds a layer that starts from data"):
        initialise(pf.bijections.Inverse(Remembering()), data(5))


def test_refresh_and_finalise_reach_every_layer_once():
    tree = finalise(refresh(refresh(stateful())))
    repeat, _, outer, _ = tree.bijections
    assert same([repeat.layers.rounds, outer.rounds], [np.full(2, 2.0), np.asarray(2.0)])
    assert same([repeat.layers.sealed, outer.sealed], [np.full(2, 2.0), np.asarray(2.0)])


def test_fit_initialises_refreshes_each_step_and_finalises():
    flow = pf.Flow(pf.bases.Normal((2,)), stateful())
    fitted, history = fit(data() + 7, flow, validation=0, max_epochs=2)
    steps = (history.best_epoch + 1) * 16  # 8 steps a pass, two passes an epoch
    repeat, _, outer, units = fitted.bijection.bijections
    assert same([repeat.layers.rounds, outer.rounds], [np.full(2, steps), np.asarray(steps)])
    assert same([repeat.layers.sealed, outer.sealed], [np.full(2, steps), np.asarray(steps)])
    assert units.mean.dtype == np.float64
    assert np.allclose(units.mean, (data() + 7).mean(0), rtol=0, atol=1e-12)
    assert abs(history.best_validation - history.gaussian) < 1  # of the training rows, here


def test_a_skipped_step_refreshes_nothing():
    stack = stateful().bijections
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([*stack[:-1], Brittle(8.0), stack[-1]]))
    x = data()
    x[17] = 50.0
    fitted, history = fit(x, flow, validation=0)
    assert history.skipped_steps == 2
    assert float(fitted.bijection.bijections[2].rounds) == 16 - 2
