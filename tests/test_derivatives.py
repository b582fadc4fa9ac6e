"""Derivatives of every kind and recipe; of roots inside loops, at ties, and of custom tangent rules inside loops."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from derivative_kinds import KINDS, LEFT, MAPPED, RIGHT, derivative_from
from derivative_table import DIRECTIONS, NAMES, TOLERANCES, row
from sampling import quick_few

import pushforward as pf
from pushforward.bases.logistic import log_standard_logistic
from pushforward.bases.student_t import _log_t
from pushforward.bijections import CircularSpline, ColumnMaps, RationalQuadraticSpline
from pushforward.numerics import elementary
from pushforward.numerics.linear_maps import transpose_of
from pushforward.numerics.roots import monotone_root
from pushforward.numerics.trailing_batch import custom_jvp


def cubic(weights, x):
    return weights[0] * x + x**3


def layers(weights, y):
    """Two roots in sequence for a batch; the weights of each are a float and an integer."""

    def step(y, weight):
        return monotone_root(cubic, (weight, jnp.arange(2)), y), None

    return jnp.sum(jax.vmap(lambda y: jax.lax.scan(step, y, weights)[0])(y) ** 2)


def test_second_derivatives_of_roots_inside_a_loop():
    with jax.enable_x64(True):
        weights, y, step = jnp.array([2.0, 0.5]), jnp.array([1.3, -0.4]), 1e-5
        gradient = jax.jit(jax.grad(layers, (0, 1)))
        for a, b in ((jnp.array([1.0, -0.5]), jnp.zeros(2)), (jnp.zeros(2), jnp.array([0.3, 1.0]))):
            ahead, behind = (gradient(weights + s * a, y + s * b) for s in (step, -step))
            expected = jax.tree.map(lambda p, q: (p - q) / (2 * step), ahead, behind)
            tangent = jax.jit(lambda a, b: jax.jvp(jax.grad(layers, (0, 1)), (weights, y), (a, b))[1])(a, b)
            cotangent = jax.jit(lambda a, b: jax.vjp(jax.grad(layers, (0, 1)), weights, y)[1]((a, b)))(a, b)
            for got in (tangent, cotangent):
                for one, other in zip(got, expected, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", [RationalQuadraticSpline, CircularSpline])
def test_spline_derivatives_at_knots_are_right_sided(kind, inverse):
    """At knots and box edges, where first derivatives have a kink, and at adjacent points."""
    with jax.enable_x64(True):
        spline, edge = kind(4), np.pi if kind is CircularSpline else 5.0
        random = np.random.default_rng(0)
        slopes = jnp.asarray(random.normal(size=spline.slopes.shape))  # the knots stay where they are
        spline = eqx.tree_at(lambda s: s.slopes, spline, slopes)
        method = spline.inverse_and_log_det if inverse else spline.forward_and_log_det
        first = jax.jacrev(lambda v: jnp.stack(method(v)))

        @jax.jit
        @jax.vmap
        def figures(point, offsets):
            values = jax.vmap(first)(point + offsets)
            return values, jax.jacrev(first)(point), jax.jacfwd(first)(point)

        knots = edge * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        near = np.repeat(knots, 3).reshape(-1, 3) + 1e-14 * np.array([-1, 0, 1])
        offsets = np.where(np.arange(3)[:, None] == 0, LEFT, RIGHT)
        offsets = np.broadcast_to(offsets, (5, 3, 4)).reshape(-1, 4)
        values, *seconds = (np.asarray(a) for a in figures(jnp.asarray(near.reshape(-1)), jnp.asarray(offsets)))
        right = np.stack([derivative_from(v, o)[0] for v, o in zip(values, offsets, strict=True)])
        assert np.abs(right[1::3] - right[0::3]).max() > 0.01  # both sides differ
        for got in seconds:
            np.testing.assert_allclose(got, right, atol=1e-6 * (1 + np.abs(right).max()))


@pytest.mark.parametrize(
    ("fn", "tie", "first", "second"),
    [
        (elementary.log_cosh, 0.0, 0.0, 1.0),
        (elementary.log_derivative_tanh, 0.0, 0.0, -2.0),
        (log_standard_logistic, 0.0, 0.0, -0.5),
        (lambda u: _log_t(u, jnp.asarray(3.0)), 0.0, 0.0, -4 / 3),
        (lambda u: _log_t(u, jnp.asarray(3.0)), 3.0**0.5, -2 / 3.0**0.5, 0.0),
    ],
    ids=["log_cosh", "log_derivative_tanh", "logistic", "student_t", "student_t far"],
)
def test_second_derivatives_of_even_functions_at_ties(fn, tie, first, second):
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.grad(fn)(tie), first, atol=1e-12)
        np.testing.assert_allclose(jax.grad(jax.grad(fn))(tie), second, atol=1e-12)


def test_slope_of_a_bounded_column_at_zero():
    maps = ColumnMaps(("bounded",), lower=-1.0, upper=3.0)
    (slope,), log_det = jax.jacrev(maps.forward)(jnp.zeros(1)), maps.forward_and_log_det(jnp.zeros(1))[1]
    np.testing.assert_allclose([slope[0], log_det], [1.0, 0.0], atol=1e-6)


def test_custom_tangent_rules_hold_inside_loops():
    """JAX inlines `jax.custom_jvp` there: the second derivative would be that of the function's own code."""

    @custom_jvp
    def sine(x):
        return jnp.sin(jax.lax.stop_gradient(x))

    sine.defjvp(lambda primals, tangents: (sine(*primals), sine(primals[0] + np.pi / 2) * tangents[0]))

    def twice(x):
        return jax.lax.scan(lambda x, _: (sine(x), None), x, None, length=2)[0]

    expected = jax.grad(jax.grad(lambda x: jnp.sin(jnp.sin(x))))(0.7)
    np.testing.assert_allclose(jax.grad(jax.grad(twice))(0.7), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.hessian(twice))(jnp.full(3, 0.7)), jnp.full(3, expected), rtol=1e-5)


@pytest.mark.slow
def test_linear_maps_defined_by_their_transpose():
    """Forward, reverse and mixed derivatives of x -> a x sin(a), with a rule that defines only the transpose."""

    @jax.custom_jvp
    def scaled(a, x):
        return a * x * jnp.sin(a)

    @scaled.defjvp
    def _(primals, tangents):
        (a, x), out = primals, scaled(*primals)

        def pull(residuals, bar):
            a, x = residuals
            return jnp.sum(bar * x) * (jnp.sin(a) + a * jnp.cos(a)), bar * a * jnp.sin(a)

        return out, transpose_of(pull, (a, x), out, tangents)

    def plain(a, x):
        return a * x * jnp.sin(a)

    a, x = jnp.asarray(0.8), jnp.array([0.3, -1.2])
    for transform in (jax.jacfwd, jax.jacrev):
        for outer in (jax.jacfwd, jax.jacrev):
            got, right = (outer(transform(fn, (0, 1)), (0, 1))(a, x) for fn in (scaled, plain))
            for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(right), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    batched = jax.vmap(jax.jacfwd(jax.grad(lambda a, x: jnp.sum(scaled(a, x)) ** 2)), (0, None))(jnp.stack([a, a]), x)
    np.testing.assert_allclose(batched[1], jax.hessian(lambda a: jnp.sum(plain(a, x)) ** 2)(a), rtol=1e-5)


@pytest.mark.parametrize("recipe", quick_few(["planar_flow", "nsf"]))
def test_hessians_of_initial_flows_agree_in_both_modes(recipe):
    """At x = 0 an initial spline flow has a knot and is the standard normal, so its Hessian is -I."""
    with jax.enable_x64(True):
        flow = getattr(pf, recipe)(2, n_layers=2, key=0, **({"width": 8} if recipe == "nsf" else {}))
        score = jax.grad(lambda x: flow.log_prob(x))
        forward, reverse = jax.jit(jax.jacfwd(score))(jnp.zeros(2)), jax.jit(jax.jacrev(score))(jnp.zeros(2))
        np.testing.assert_allclose(forward, reverse, atol=1e-10)
        if recipe == "nsf":
            np.testing.assert_allclose(reverse, -np.eye(2), atol=1e-10)


QUICK = {("real_nvp", "log p")}  # it compiles fast


@pytest.mark.parametrize("case", quick_few(itertools.product(NAMES, DIRECTIONS), *QUICK), ids=", ".join)
def test_table_of_recipes(case):
    """Every kind of derivative, in both precisions: the rows of benchmarks/results/derivatives.md."""
    with quickly_compiled():
        found = row(*case)
    assert set(found["float64"]) == set(KINDS)
    assert set(found["float32"]) == set(MAPPED)
    for dtype, by_kind in found.items():
        wrong = {kind: f"{error:.0e}" for kind, error in by_kind.items() if not error < TOLERANCES[dtype]}
        assert not wrong, (dtype, wrong)
