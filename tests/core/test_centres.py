"""Scores and training do not depend on the origin of units, nor on one absurd value."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised

import pushforward as pf
from pushforward.bijections import Affine, Chain, ColumnMaps, Elementwise, Standardise
from pushforward.errors import DataError
from pushforward.numerics.moments import CONTEXT_TAILS, EVENT_TAILS, compress, expand, moments, reach_of, spread

FAR = 2.0**31
RANDOM = np.random.default_rng(0)
X, C = np.round(RANDOM.normal(size=(200, 2)) * 1024) / 1024, np.round(RANDOM.normal(size=(200, 3)) * 1024) / 1024


def moved(offset):
    """A conditional flow with units about an offset, and its rows; numbers that the offset does not round."""
    flow = pf.real_nvp(dim=2, context_dim=3, n_layers=2, width=8, key=0)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    flow = eqx.combine(randomised(trained, 0.3), rest)
    outer, scaling = Standardise((2,)), flow.context_scaling
    flow = eqx.tree_at(
        lambda f: (f.bijection.bijections[-1], f.context_scaling), flow,
        (outer.filled(np.full(2, offset), np.full(2, 0.5)), scaling.filled(np.full(3, -offset), np.full(3, 2.0))),
    )  # fmt: skip
    return flow, X + offset, C - offset


HERE, THERE = moved(0.0), moved(FAR)


def test_scores_do_not_change_when_rows_and_contexts_are_moved():
    right = np.asarray(HERE[0].log_prob(*HERE[1:]))
    flow, x, context = THERE
    np.testing.assert_array_equal(flow.log_prob(x, context), right)
    np.testing.assert_array_equal(flow.log_prob(x[:5, None], context[:4]), HERE[0].log_prob(X[:5, None], C[:4]))
    np.testing.assert_array_equal(flow.log_prob_with_error(x, context)[0], right)
    with jax.enable_x64(True):
        np.testing.assert_allclose(flow.log_prob(x, context), right, rtol=1e-6)
    assert float(jax.jit(lambda s: s * flow.log_prob(x, context))(1.0)[3]) == pytest.approx(right[3], abs=1e-5)


def test_a_context_that_is_given_is_centred():
    at, here = THERE[0].given(THERE[2][0]), HERE[0].given(C[0])
    np.testing.assert_array_equal(at.log_prob(THERE[1]), here.log_prob(X))
    with jax.enable_x64(True):
        np.testing.assert_allclose(np.asarray(at.sample(9, key=0)) - FAR, here.sample(9, key=0), atol=1e-5)
    with pytest.raises(DataError, match=r"context: .*beyond the range of float32"):
        HERE[0].given(np.full(3, 1e60))


def test_samples_have_the_digits_that_their_type_can_hold():
    """In float32 they are those of the flow at the origin, rounded once; under x64 all digits are there."""
    flow, _, context = THERE
    right = np.asarray(HERE[0].sample(50, key=1, context=C[:2]), np.float64)
    np.testing.assert_array_equal(flow.sample(50, key=1, context=context[:2]), (right + FAR).astype(np.float32))
    with jax.enable_x64(True):
        drawn, scores = flow.sample_and_log_prob(50, key=1, context=context[:2])
        assert drawn.dtype == np.float64
        np.testing.assert_allclose(np.asarray(drawn) - FAR, right, atol=1e-5)
        np.testing.assert_allclose(scores, flow.log_prob(drawn, context[:2]), atol=1e-4)


@pytest.mark.parametrize("wrapper", ["rounded", "dequantised", "columns"])
def test_what_wraps_a_flow_is_centred_with_it(wrapper):
    def build(offset):
        units = Standardise((2,)).filled(np.full(2, offset), np.full(2, 3.0))
        inner = Elementwise(Affine(), (2,))
        if wrapper == "columns":
            ends = {"lower": offset - 4, "upper": offset + 4, "centre": offset, "scale": 2.0}
            units = ColumnMaps(("real", "bounded"), **ends)
        flow = pf.Flow(pf.bases.Normal((2,)), Chain([inner, units]))
        if wrapper == "dequantised":
            given = moved(offset)[0]
            return pf.Dequantised(given, 4), np.arange(8).reshape(4, 2) % 4, C[:4] - offset
        whole = np.round(X[:20] * 3)
        return (pf.Discretised(flow, [1.0, 1.0], origin=offset) if wrapper == "rounded" else flow), whole + offset, None

    offset = float(2**27)  # of float32 numbers there, every 16th whole number is one
    here, x, context = build(0.0)
    there, y, moved_context = build(offset)
    if wrapper == "dequantised":  # levels do not move; the context does
        there = eqx.tree_at(lambda d: d.flow.bijection, there, here.flow.bijection)
        y = x
    np.testing.assert_allclose(there.log_prob(y, moved_context), here.log_prob(x, context), rtol=1e-5, atol=1e-5)


def test_training_does_not_depend_on_the_origin_of_rows_or_contexts():
    def fitted(shift, given):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*mean more than 10,000 times")
            flow, history = pf.fit(
                pf.real_nvp(dim=2, context_dim=3, n_layers=2, width=8, key=0), X + shift, context=C + given, key=0,
                max_epochs=2, batch_size=50, validation=(X[:40] + shift, C[:40] + given), progress=False,
            )  # fmt: skip
        return history.best_validation, np.asarray(flow.log_prob(X + shift, C + given))

    best, scores = fitted(0.0, 0.0)
    for shift, given in ((2.0**24, 0.0), (0.0, 2.0**24), (-(2.0**20), 2.0**30)):
        found, moved_scores = fitted(shift, given)
        assert abs(found - best) < 1e-4
        np.testing.assert_allclose(moved_scores, scores, atol=1e-3)
        assert abs(moved_scores[:40].mean() - found) < 1e-3


@pytest.mark.parametrize("tails", [EVENT_TAILS, CONTEXT_TAILS])
@pytest.mark.parametrize("absurd", [1e7, -1e30, 1e140])
def test_one_absurd_value_does_not_move_moments(tails, absurd):
    rows = RANDOM.normal(3.0, 2.0, size=(300, 2))
    clean = moments(rows, tails)
    np.testing.assert_allclose(clean, (rows.mean(0), rows.std(0)))
    rows[17, 1] = absurd
    mean, scale = moments(rows, tails)
    np.testing.assert_allclose(mean, clean[0], atol=0.05)
    np.testing.assert_allclose(scale, clean[1], rtol=0.02)
    assert (reach_of(rows - mean) < 8).all()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ((np.arange(1000) % 100 == 0).astype(float), "moments"),  # a flag of 1 %
        ((np.arange(1000) == 7).astype(float), "moments"),
        (np.where(np.arange(1000) < 700, 0.0, np.linspace(0, 5, 1000)), "moments"),
        (np.full(1000, 3.0), "constant"),
        (np.where(np.arange(1000) < 80, -9999999.0, np.linspace(-2, 2, 1000)), "without the code"),
        (np.r_[np.linspace(-1, 1, 500) - 1e4, np.linspace(-1, 1, 500) + 1e4], "moments"),
    ],
    ids=["flag", "one", "half equal", "constant", "missing", "clusters"],
)
def test_columns_of_every_kind_have_a_scale(column, expected):
    mean, scale = (float(part[0]) for part in moments(column[:, None], CONTEXT_TAILS))
    if expected == "without the code":
        assert abs(mean) < 0.2
        assert 0.9 < scale < 1.3
    else:
        assert (mean, scale) == pytest.approx((column.mean(), column.std()))
    assert (spread(column[:, None], CONTEXT_TAILS)[1][0] > 0) == (expected != "constant")


def test_compression_loses_nothing_and_is_smooth():
    u = np.r_[-1e30, -1e7, np.linspace(-9, 9, 101), -5.0, 5.0, 1e7]
    with jax.enable_x64(True):
        v, slope = compress(jnp.asarray(u))
        back, there = expand(v)
        np.testing.assert_allclose(back, u, rtol=1e-9)
        np.testing.assert_allclose(slope, -there, atol=1e-9)
        ordered = np.asarray(compress(jnp.asarray(np.sort(u)))[0])
        assert (np.diff(ordered) >= 0).all()
        assert np.abs(ordered).max() < 80
        for point in (5.0, -5.0):
            slopes = [jax.grad(lambda u: compress(u)[0])(jnp.asarray(point + step)) for step in (-1e-7, 0.0, 1e-7)]
            np.testing.assert_allclose(slopes, 1.0, atol=1e-6)


def test_absurd_contexts_are_named_and_learned_beside():
    given = C[:, :1].copy()
    y = given + 0.1 * RANDOM.normal(size=(200, 1))
    given[::50] = -9_999_999.0
    flow = pf.real_nvp(dim=1, context_dim=1, n_layers=1, width=8, key=0)
    with pytest.warns(UserWarning, match=r"4 values of context column 0 .*first, -1e\+07, at row 0"):
        flow, _ = pf.fit(
            flow, y, context=given, key=0, max_epochs=60, batch_size=50, learning_rate=2e-2, validation=0,
            progress=False,
        )  # fmt: skip
    assert float(flow.context_scaling.scale[0]) < 1.2
    clean = np.abs(given[:, 0]) < 10
    assert float(flow.log_prob(y, given)[clean].mean()) > 0.3  # 0.9 where it is known, -1.4 where it is erased


@pytest.mark.parametrize("value", [1e300, 1e200, 1e38])
def test_numbers_beyond_the_type_are_refused_before_training(value):
    class Frame:
        columns = ("a", "height", "c")

        def __init__(self, rows):
            self.rows = rows

        def to_numpy(self):
            return self.rows

    flow, given = pf.real_nvp(dim=2, context_dim=3, n_layers=1, width=4, key=0), C.copy()
    given[3, 1] = value
    with pytest.raises(DataError, match=r"context: .*column 'height': write it in another unit"):
        pf.fit(flow, X, context=Frame(given), key=0, progress=False)
    with pytest.raises(DataError, match=r"validation context: .*column 1: write it in another unit"):
        pf.fit(flow, X, context=C, validation=(X, given), key=0, progress=False)
    with pytest.raises(DataError, match=r"x: .*column 1: write it in another unit"):
        pf.fit(pf.nice(dim=3, n_layers=1, width=4, key=0), given, key=0, progress=False)


def test_a_constant_context_is_let_be():
    pf.fit(
        pf.real_nvp(dim=2, context_dim=1, n_layers=1, width=4, key=0), X, context=np.full((200, 1), 7.0), key=0,
        max_epochs=1, progress=False,
    )  # fmt: skip


def test_what_float32_cannot_tell_apart_is_said_with_a_cure():
    """Two clusters 1e9 apart, each of width 1: about either centre float32 counts in steps of 64."""
    x = np.r_[RANDOM.normal(size=(100, 1)) - 5e8, RANDOM.normal(size=(100, 1)) + 5e8]
    options = {"key": 0, "max_epochs": 1, "validation": 0, "progress": False}
    with pytest.warns(UserWarning, match=r"column 0 has values so far .* under jax\.enable_x64\(True\)"):
        pf.fit(pf.linear_flow(dim=1, key=0), x, **options)
    with jax.enable_x64(True):
        flow, _ = pf.fit(pf.linear_flow(dim=1, key=0), x, **options)
        assert len(np.unique(flow.log_prob(x))) == 200
