"""The rational-quadratic splines against a textbook re-implementation in float64, and at their edges."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.bijections import (
    CircularSpline,
    RationalQuadraticSpline,
    apply_transformer,
    n_parameters,
)

BOUND, K = 5.0, 8
ULP = float(np.spacing(np.float32(BOUND)))


def textbook(spline, value, leaves, inverse=False):
    """Value and log-slope at one point, by searchsorted and Durkan et al. 2019, equations 4 to 8, in float64.

    Shares no code with the library. A knot's slope d bounded by its secants is 1/d = 1/a + (1/s0 + 1/s1) / max_ratio.
    """
    widths, heights, slopes = leaves
    n, circular = widths.shape[0], isinstance(spline, CircularSpline)
    bound = np.pi if circular else spline.bound

    def knots(logits):
        shares = spline.min_bin + (1 - n * spline.min_bin) * jax.nn.softmax(logits)
        return jnp.concatenate([jnp.zeros(1), jnp.cumsum(shares)[:-1], jnp.ones(1)]) * 2 * bound - bound

    x, y = knots(widths), knots(heights)
    secants = jnp.diff(y) / jnp.diff(x)
    start = spline.max_ratio / (spline.max_ratio - 2.0) - spline.min_slope
    raw = jnp.log1p(jnp.exp(slopes + np.log(np.expm1(start)))) + spline.min_slope
    before, after = (jnp.roll(secants, 1), secants) if circular else (secants[:-1], secants[1:])
    inner = 1 / (1 / raw + (1 / before + 1 / after) / spline.max_ratio)
    d = jnp.append(inner, inner[0]) if circular else jnp.concatenate([jnp.ones(1), inner, jnp.ones(1)])

    k = jnp.clip(jnp.searchsorted(y if inverse else x, value, side="right") - 1, 0, n - 1)
    s, d0, d1, w, h = secants[k], d[k], d[k + 1], x[k + 1] - x[k], y[k + 1] - y[k]
    if inverse:
        rise = value - y[k]
        a = h * (s - d0) + rise * (d0 + d1 - 2 * s)
        b = h * d0 - rise * (d0 + d1 - 2 * s)
        c = -s * rise
        xi = 2 * c / (-b - jnp.sqrt(b * b - 4 * a * c))
    else:
        xi = (value - x[k]) / w
    denominator = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
    log_slope = jnp.log(s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2)) - 2 * jnp.log(denominator)
    if inverse:
        return xi * w + x[k], -log_slope
    return y[k] + h * (s * xi**2 + d0 * xi * (1 - xi)) / denominator, log_slope


def leaves_of(spline, parameters):
    """Parameters (P, ...) split into the leaves of a spline."""
    sizes = [leaf.shape[0] for leaf in (spline.widths, spline.heights, spline.slopes)]
    return tuple(np.split(parameters[: sum(sizes)], np.cumsum(sizes)[:-1]))


def apply(spline, parameters, points, inverse=False):
    return jax.jit(lambda p, v: apply_transformer(spline, p, v, inverse))(jnp.asarray(parameters), jnp.asarray(points))


def least_log_slope(spline, parameters, points):
    """The least log-slope over all sets of parameters (P, n) and all points, in one compiled loop."""

    def at(point):
        return apply_transformer(spline, parameters, jnp.full(parameters.shape[1], point), False)[1].min()

    parameters = jnp.asarray(parameters)
    return float(jax.jit(lambda points: jax.lax.map(at, points).min())(jnp.asarray(points)))


def spline_with(leaves, spline=None):
    spline = RationalQuadraticSpline(K) if spline is None else spline
    return eqx.tree_at(lambda s: (s.widths, s.heights, s.slopes), spline, tuple(map(jnp.asarray, leaves)))


def random_leaves(scale, seed=0, n_slopes=K - 1):
    random = np.random.default_rng(seed)
    return tuple((scale * random.normal(size=size)).astype(np.float32) for size in (K, K, n_slopes))


def hard_bins(count):
    """S1: random bins with logits of deviation 10 in float32, through both directions and against float64."""
    spline = RationalQuadraticSpline(K)
    random = np.random.default_rng(0)
    parameters = (10 * random.normal(size=(n_parameters(spline), count))).astype(np.float32)
    points = random.uniform(-BOUND, BOUND, count).astype(np.float32)
    z, log_det_back = apply(spline, parameters, points, inverse=True)
    x, log_det = apply(spline, parameters, z)
    z, x, log_det, log_det_back = (np.asarray(v, np.float64) for v in (z, x, log_det, log_det_back))
    assert np.isfinite(z).all()
    assert np.isfinite(log_det).all()
    assert np.isfinite(log_det_back).all()
    assert np.abs(z).max() <= BOUND
    # One ulp of z is exp(log_det) ulps of x, which no float32 inverse can undo.
    assert (np.abs(x - points) <= 8 * ULP * (1 + np.exp(log_det))).all()

    with jax.enable_x64(True):
        leaves = leaves_of(spline, parameters.astype(np.float64))
        reference = jax.jit(jax.vmap(lambda v, *p: textbook(spline, v, p, inverse=True), (0, 1, 1, 1)))
        exact, exact_log_det = (np.asarray(v) for v in reference(points.astype(np.float64), *leaves))
    kappa = 1 + np.exp(exact_log_det)  # the inverse's own slope
    eps = float(np.finfo(np.float32).eps)
    wrong = np.abs(z - exact) > 50 * eps * BOUND * kappa
    assert not wrong.any(), f"{wrong.sum()} of {count}, worst {np.abs(z - exact)[wrong].max()}"


def test_hard_bins():
    hard_bins(200_000)


@pytest.mark.slow
def test_a_million_hard_bins():
    hard_bins(1_000_000)


@pytest.mark.parametrize("seed", range(4))
def test_spline_is_increasing(seed):
    spline = spline_with(random_leaves(10.0, seed))
    points = jnp.linspace(-1.2 * BOUND, 1.2 * BOUND, 20_001, dtype=jnp.float32)
    for method in (spline.forward_and_log_det, spline.inverse_and_log_det):
        values = np.asarray(jax.jit(lambda p, method=method: jax.vmap(method)(p))(points)[0], np.float64)
        assert np.diff(values).min() >= -2 * ULP
        assert (np.diff(values[::1000]) > 0).all()


def test_values_and_gradients_at_hard_points():
    """S2: zero, the edges, one ulp from them, far outside: all values finite in both directions."""
    edge = np.float32(BOUND)
    near = [edge, np.nextafter(edge, np.float32(0)), np.nextafter(edge, np.float32(np.inf)), edge * np.float32(1.00001)]
    points = jnp.asarray([0.0, *near, *[-v for v in near], 50.0, 1e6, -1e6, 1e30, -1e30], jnp.float32)
    spline = spline_with(random_leaves(3.0))
    for inverse in (False, True):

        def loss(spline, point, inverse=inverse):
            out, log_det = (spline.inverse_and_log_det if inverse else spline.forward_and_log_det)(point)
            return out + log_det, (out, log_det)

        gradients, values = jax.jit(jax.vmap(jax.grad(loss, (0, 1), has_aux=True), (None, 0)))(spline, points)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, values)))
        is_outside = np.abs(points) > BOUND
        np.testing.assert_array_equal(values[0][is_outside], points[is_outside])
        np.testing.assert_array_equal(values[1][is_outside], 0.0)
        for leaf in jax.tree.leaves(gradients[0]):
            np.testing.assert_array_equal(leaf[is_outside], 0.0)


def test_batches_outside_the_box_and_empty_batches():
    """S3."""
    spline = spline_with(random_leaves(1.0))
    for points in (jnp.full(7, 9.0), jnp.zeros(0), jnp.full(1, -6.0)):
        values, log_det = jax.vmap(spline.forward_and_log_det)(points)
        np.testing.assert_array_equal(values, points)
        np.testing.assert_array_equal(log_det, jnp.zeros_like(points))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_ulp_around_the_edge(sign):
    """S4: increasing across the edge, and exact at it."""
    edge = np.float32(BOUND)
    before_edge, after_edge = np.nextafter(edge, np.float32(0)), np.nextafter(edge, np.float32(np.inf))
    further = np.float32(BOUND - 1e-3)
    points = jnp.asarray(np.sort(sign * np.asarray([further, before_edge, edge, after_edge])))
    parameters = np.stack([np.concatenate(random_leaves(3.0, seed)) for seed in range(40)], 1)
    for inverse in (False, True):
        columns = np.stack([apply(RationalQuadraticSpline(K), parameters, np.full(40, p), inverse)[0] for p in points])
        for values in columns.T:
            assert (np.diff(values) >= 0).all()
            assert values[2 if sign > 0 else 1] == sign * BOUND


@pytest.mark.parametrize("kind", [RationalQuadraticSpline, CircularSpline])
def test_slope_stays_above_the_stated_minimum(kind):
    """S5: the slope sampled densely stays above the stated bound, for random and adversarial leaves."""
    with jax.enable_x64(True):
        floor, spline, random = RationalQuadraticSpline(K).minimum_slope, kind(K), np.random.default_rng(0)
        assert floor > 0
        size = (n_parameters(spline), 400)
        sets = [scale * random.normal(size=size) for scale in (1.0, 10.0)]
        sets += [scale * random.choice([-1.0, 0.0, 1.0], size=size) for scale in (3.0, 30.0)]
        edge = np.pi if kind is CircularSpline else BOUND
        least = least_log_slope(spline, np.concatenate(sets, 1), np.linspace(-edge + 1e-9, edge - 1e-9, 1001))
        assert np.exp(least) >= floor * (1 - 1e-9)


def test_stated_minimum_slope_is_nearly_attained():
    """The worst bins come within a factor of three of the bound."""
    with jax.enable_x64(True):
        spline = RationalQuadraticSpline(3)
        floor, tops = spline.minimum_slope, 60.0 * np.eye(3)
        sets = [
            np.concatenate([tops[w], tops[h], np.full(2, s)]) for w in range(3) for h in range(3) for s in (-60, 0, 60)
        ]
        points = np.linspace(-BOUND, BOUND, 4001)[1:-1]
        least = np.exp(least_log_slope(spline, np.stack(sets, 1), points))
        assert floor * (1 - 1e-9) <= least <= 3 * floor


@pytest.mark.parametrize("seed", range(5))
def test_the_density_is_continuous_at_the_edge(seed):
    """S7: both end slopes are 1."""
    with jax.enable_x64(True):
        spline = spline_with([leaf.astype(np.float64) for leaf in random_leaves(0.5, seed)])
        for method in (spline.forward_and_log_det, spline.inverse_and_log_det):
            for edge in (-BOUND, BOUND):
                log_dets = [float(method(jnp.asarray(edge + step))[1]) for step in (-1e-6, 0.0, 1e-6)]
                assert max(log_dets) - min(log_dets) < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_the_density_is_continuous_around_the_circle(seed):
    """The points -pi and pi are one point: value, slope and inverse slope there are the limits from both sides."""
    circle = spline_with(random_leaves(1.0, seed, K), CircularSpline(K))
    edge = np.float32(np.pi)
    for method in (jax.jit(lambda v: circle.forward_and_log_det(v)), jax.jit(lambda v: circle.inverse_and_log_det(v))):
        before_edge = float(method(jnp.asarray(-edge + np.float32(1e-5)))[1])
        for point in (-edge, edge, np.nextafter(-edge, np.float32(0)), np.nextafter(edge, np.float32(0)), 3 * edge):
            out, log_det = method(jnp.asarray(np.float32(point)))
            assert abs(float(log_det) - before_edge) < 2e-3, f"at {point}"
            assert -edge <= float(out) <= edge


def test_phase_rotates_the_circle():
    """The phase rotates the circle, and points beyond the edge are wrapped."""
    circle = spline_with(random_leaves(1.0, 1, K), CircularSpline(K))
    rotated = eqx.tree_at(lambda s: s.phase, circle, jnp.asarray(2.0))
    for angle in (-3.0, 0.5, 3.0):
        plain = float(circle.forward(jnp.asarray(angle)))
        shifted = float(rotated.forward(jnp.asarray(angle)))
        assert np.cos(shifted - plain) == pytest.approx(np.cos(2.0), abs=1e-5)
        assert np.sin(shifted - plain) == pytest.approx(np.sin(2.0), abs=1e-5)
        far = float(rotated.forward(jnp.asarray(angle + 4 * np.pi)))
        assert far == pytest.approx(shifted, abs=1e-5)


@pytest.mark.parametrize("kind", [RationalQuadraticSpline, CircularSpline])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.float64])
def test_dtype_is_preserved(kind, dtype):
    """S8: also under x64, where a stray constant would widen the result."""
    with jax.enable_x64(True):
        spline = jax.tree.map(lambda leaf: leaf.astype(dtype), kind(K))
        for method in (spline.forward_and_log_det, spline.inverse_and_log_det):
            assert [out.dtype for out in jax.eval_shape(method, jax.ShapeDtypeStruct((), dtype))] == [dtype, dtype]


@pytest.mark.parametrize("kind", [RationalQuadraticSpline, CircularSpline])
@pytest.mark.parametrize("inverse", [False, True])
def test_values_and_gradients_match_the_textbook_formula(kind, inverse):
    """Value, log-slope and the hand-written backward rule against autodiff of the textbook form, in float64."""
    with jax.enable_x64(True):
        spline, random = kind(K), np.random.default_rng(3)
        edge = np.pi if kind is CircularSpline else BOUND

        def kernel(point, leaves):
            module = spline_with(leaves, spline)
            return (module.inverse_and_log_det if inverse else module.forward_and_log_det)(point)

        def reference(point, leaves):
            return textbook(spline, point, leaves, inverse)

        def values_and_gradients(fn):
            """Both outputs and the gradients of both, at many points."""

            def one(point, leaves):
                outs, vjp = jax.vjp(fn, point, leaves)
                unit = jnp.eye(2)
                return outs, jax.vmap(vjp)((unit[:, 0], unit[:, 1]))

            return jax.jit(jax.vmap(one, (0, None)))

        kernel, reference = values_and_gradients(kernel), values_and_gradients(reference)
        for scale in (0.0, 1.0, 3.0):
            leaves = tuple(jnp.asarray(scale * random.normal(size=size)) for size in (K, K, spline.slopes.shape[0]))
            points = jnp.asarray(random.uniform(-edge, edge, 40))
            got, expected = kernel(points, leaves), reference(points, leaves)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize("kind", [RationalQuadraticSpline, CircularSpline])
def test_too_many_bins_raise(kind):
    with pytest.raises(ValueError, match=r"min_bin: expected 0 < n_bins \* min_bin < 1, got 1000"):
        kind(1000, min_bin=1e-3)
