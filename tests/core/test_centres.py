"""Log-densities and training do not depend on the origin of the data, nor on single outliers."""

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


def shifted(offset):
    """A conditional flow centred at an offset, with data and contexts; the offset does not round their values."""
    flow = pf.real_nvp(dim=2, context_dim=3, n_layers=2, width=8, key=0)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    flow = eqx.combine(randomised(trained, 0.3), rest)
    outer, scaling = Standardise((2,)), flow.context_scaling
    flow = eqx.tree_at(
        lambda f: (f.bijection.bijections[-1], f.context_scaling), flow,
        (outer.filled(np.full(2, offset), np.full(2, 0.5)), scaling.filled(np.full(3, -offset), np.full(3, 2.0))),
    )  # fmt: skip
    return flow, X + offset, C - offset


NEAR, SHIFTED = shifted(0.0), shifted(FAR)


def test_log_prob_is_invariant_under_shifts_of_data_and_contexts():
    expected = np.asarray(NEAR[0].log_prob(*NEAR[1:]))
    flow, x, context = SHIFTED
    np.testing.assert_array_equal(flow.log_prob(x, context), expected)
    np.testing.assert_array_equal(flow.log_prob(x[:5, None], context[:4]), NEAR[0].log_prob(X[:5, None], C[:4]))
    np.testing.assert_array_equal(flow.log_prob_with_error(x, context)[0], expected)
    with jax.enable_x64(True):
        np.testing.assert_allclose(flow.log_prob(x, context), expected, rtol=1e-6)
    assert float(jax.jit(lambda s: s * flow.log_prob(x, context))(1.0)[3]) == pytest.approx(expected[3], abs=1e-5)


def test_given_centres_the_context():
    far, near = SHIFTED[0].given(SHIFTED[2][0]), NEAR[0].given(C[0])
    np.testing.assert_array_equal(far.log_prob(SHIFTED[1]), near.log_prob(X))
    with jax.enable_x64(True):
        np.testing.assert_allclose(np.asarray(far.sample(9, key=0)) - FAR, near.sample(9, key=0), atol=1e-5)
    with pytest.raises(DataError, match=r"context: .*beyond the range of float32"):
        NEAR[0].given(np.full(3, 1e60))


def test_samples_are_accurate_in_their_dtype():
    """In float32 they are those of the flow at the origin, rounded once; under x64 they are exact."""
    flow, _, context = SHIFTED
    expected = np.asarray(NEAR[0].sample(50, key=1, context=C[:2]), np.float64)
    np.testing.assert_array_equal(flow.sample(50, key=1, context=context[:2]), (expected + FAR).astype(np.float32))
    with jax.enable_x64(True):
        samples, scores = flow.sample_and_log_prob(50, key=1, context=context[:2])
        assert samples.dtype == np.float64
        np.testing.assert_allclose(np.asarray(samples) - FAR, expected, atol=1e-5)
        np.testing.assert_allclose(scores, flow.log_prob(samples, context[:2]), atol=1e-4)


@pytest.mark.parametrize("wrapper", ["rounded", "dequantised", "columns"])
def test_wrappers_are_centred_with_their_flow(wrapper):
    def build(offset):
        units = Standardise((2,)).filled(np.full(2, offset), np.full(2, 3.0))
        inner = Elementwise(Affine(), (2,))
        if wrapper == "columns":
            ends = {"lower": offset - 4, "upper": offset + 4, "centre": offset, "scale": 2.0}
            units = ColumnMaps(("real", "bounded"), **ends)
        flow = pf.Flow(pf.bases.Normal((2,)), Chain([inner, units]))
        if wrapper == "dequantised":
            conditional = shifted(offset)[0]
            return pf.Dequantised(conditional, 4), np.arange(8).reshape(4, 2) % 4, C[:4] - offset
        integers = np.round(X[:20] * 3)
        return (
            (pf.Discretised(flow, [1.0, 1.0], origin=offset) if wrapper == "rounded" else flow),
            integers + offset,
            None,
        )

    offset = float(2**27)  # there float32 represents every 16th integer
    near, x, context = build(0.0)
    far, y, far_context = build(offset)
    if wrapper == "dequantised":  # the levels are not shifted, the context is
        far = eqx.tree_at(lambda d: d.flow.bijection, far, near.flow.bijection)
        y = x
    np.testing.assert_allclose(far.log_prob(y, far_context), near.log_prob(x, context), rtol=1e-5, atol=1e-5)


def test_training_is_invariant_under_shifts_of_data_and_contexts():
    def fitted(shift, c_shift):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*mean more than 10,000 times")
            flow, history = pf.fit(
                pf.real_nvp(dim=2, context_dim=3, n_layers=2, width=8, key=0), X + shift, context=C + c_shift, key=0,
                max_epochs=2, batch_size=50, validation=(X[:40] + shift, C[:40] + c_shift), progress=False,
            )  # fmt: skip
        return history.best_validation, np.asarray(flow.log_prob(X + shift, C + c_shift))

    best, scores = fitted(0.0, 0.0)
    for shift, c_shift in ((2.0**24, 0.0), (0.0, 2.0**24), (-(2.0**20), 2.0**30)):
        shifted_best, shifted_scores = fitted(shift, c_shift)
        assert abs(shifted_best - best) < 1e-4
        np.testing.assert_allclose(shifted_scores, scores, atol=1e-3)
        assert abs(shifted_scores[:40].mean() - shifted_best) < 1e-3


@pytest.mark.parametrize("tails", [EVENT_TAILS, CONTEXT_TAILS])
@pytest.mark.parametrize("outlier", [1e7, -1e30, 1e140])
def test_moments_are_robust_to_one_outlier(tails, outlier):
    rows = RANDOM.normal(3.0, 2.0, size=(300, 2))
    clean = moments(rows, tails)
    np.testing.assert_allclose(clean, (rows.mean(0), rows.std(0)))
    rows[17, 1] = outlier
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
def test_moments_of_unusual_columns(column, expected):
    mean, scale = (float(part[0]) for part in moments(column[:, None], CONTEXT_TAILS))
    if expected == "without the code":
        assert abs(mean) < 0.2
        assert 0.9 < scale < 1.3
    else:
        assert (mean, scale) == pytest.approx((column.mean(), column.std()))
    assert (spread(column[:, None], CONTEXT_TAILS)[1][0] > 0) == (expected != "constant")


def test_compression_is_invertible_and_smooth():
    u = np.r_[-1e30, -1e7, np.linspace(-9, 9, 101), -5.0, 5.0, 1e7]
    with jax.enable_x64(True):
        v, slope = compress(jnp.asarray(u))
        back, inverse_slope = expand(v)
        np.testing.assert_allclose(back, u, rtol=1e-9)
        np.testing.assert_allclose(slope, -inverse_slope, atol=1e-9)
        increasing = np.asarray(compress(jnp.asarray(np.sort(u)))[0])
        assert (np.diff(increasing) >= 0).all()
        assert np.abs(increasing).max() < 80
        for point in (5.0, -5.0):
            slopes = [jax.grad(lambda u: compress(u)[0])(jnp.asarray(point + step)) for step in (-1e-7, 0.0, 1e-7)]
            np.testing.assert_allclose(slopes, 1.0, atol=1e-6)


def test_outliers_of_contexts_are_reported_and_do_not_prevent_learning():
    context = C[:, :1].copy()
    y = context + 0.1 * RANDOM.normal(size=(200, 1))
    context[::50] = -9_999_999.0
    flow = pf.real_nvp(dim=1, context_dim=1, n_layers=1, width=8, key=0)
    with pytest.warns(UserWarning, match=r"4 values of context column 0 .*first, -1e\+07, at row 0"):
        flow, _ = pf.fit(
            flow, y, context=context, key=0, max_epochs=60, batch_size=50, learning_rate=2e-2, validation=0,
            progress=False,
        )  # fmt: skip
    assert float(flow.context_scaling.scale[0]) < 1.2
    clean = np.abs(context[:, 0]) < 10
    assert float(flow.log_prob(y, context)[clean].mean()) > 0.3  # 0.9 with the context, -1.4 without


@pytest.mark.parametrize("value", [1e300, 1e200, 1e38])
def test_values_beyond_the_dtype_raise_before_training(value):
    class Frame:
        columns = ("a", "height", "c")

        def __init__(self, rows):
            self.rows = rows

        def to_numpy(self):
            return self.rows

    flow, context = pf.real_nvp(dim=2, context_dim=3, n_layers=1, width=4, key=0), C.copy()
    context[3, 1] = value
    with pytest.raises(DataError, match=r"context: .*column 'height': write it in another unit"):
        pf.fit(flow, X, context=Frame(context), key=0, progress=False)
    with pytest.raises(DataError, match=r"validation context: .*column 1: write it in another unit"):
        pf.fit(flow, X, context=C, validation=(X, context), key=0, progress=False)
    with pytest.raises(DataError, match=r"x: .*column 1: write it in another unit"):
        pf.fit(pf.nice(dim=3, n_layers=1, width=4, key=0), context, key=0, progress=False)


def test_a_constant_context_is_accepted():
    pf.fit(
        pf.real_nvp(dim=2, context_dim=1, n_layers=1, width=4, key=0), X, context=np.full((200, 1), 7.0), key=0,
        max_epochs=1, progress=False,
    )  # fmt: skip


def test_values_that_float32_cannot_resolve_warn_with_a_fix():
    """Two clusters 1e9 apart, each of width 1: about any centre the resolution of float32 is 64."""
    x = np.r_[RANDOM.normal(size=(100, 1)) - 5e8, RANDOM.normal(size=(100, 1)) + 5e8]
    options = {"key": 0, "max_epochs": 1, "validation": 0, "progress": False}
    with pytest.warns(UserWarning, match=r"column 0 has values so far .* under jax\.enable_x64\(True\)"):
        pf.fit(pf.linear_flow(dim=1, key=0), x, **options)
    with jax.enable_x64(True):
        flow, _ = pf.fit(pf.linear_flow(dim=1, key=0), x, **options)
        assert len(np.unique(flow.log_prob(x))) == 200
