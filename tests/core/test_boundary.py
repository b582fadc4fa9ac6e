"""Public methods of distributions on batches: shapes, chunks, compilation, dtypes, traces, errors."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised
from compiling import quickly_compiled
from zoo import conditional

import pushforward as pf
from pushforward.bijections import Affine, Elementwise, Exp
from pushforward.errors import DataError, NumericError, ShapeError
from pushforward.train.data import as_rows


def random_flow(**options):
    flow = pf.real_nvp(dim=2, n_layers=2, width=8, key=0, **options)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    return eqx.combine(randomised(trained, 0.2), rest)


FLOW, CONDITIONAL = random_flow(), random_flow(context_dim=3)
X = np.random.default_rng(0).normal(size=(2500, 2)).astype(np.float32)
C = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)


@contextlib.contextmanager
def compilations():
    """A list with one entry for each program that is compiled in this context."""
    events, active = [], [True]

    def listen(event, duration, **_):
        if active and event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        active.clear()


def test_compilations_are_counted():
    with compilations() as events:
        jax.jit(lambda x: x * 17.25 + 3)(np.ones(3, np.float32))
    assert events


def test_another_batch_size_compiles_nothing():
    FLOW.log_prob(X[:1000])
    FLOW.sample_and_log_prob(1000, key=1)
    flow = eqx.tree_at(lambda f: f.bijection.bijections[0].layers.network.out_bias, FLOW, replace_fn=lambda b: b + 0.1)
    with compilations() as events:
        FLOW.log_prob(X[:1001])
        FLOW.log_prob(X[:900])
        FLOW.sample_and_log_prob(1001, key=2)
        flow.log_prob(X[:1001])
    assert events == []


def test_arrays_of_every_origin_share_a_program():
    """JAX itself compiles again for arrays that are weakly typed or bound to a device."""
    x, c = np.ones((16, 2), np.float32), np.ones((16, 3), np.float32)
    expected = CONDITIONAL.log_prob(x, c)
    bound, bound_context = (jax.device_put(part, jax.devices()[0]) for part in (x, c))
    weak, plain = jnp.broadcast_to(jnp.asarray(1.0), (16, 2)), jnp.asarray(x)
    assert bound.committed
    assert weak.weak_type
    with compilations() as events:
        for events_of, contexts in ((plain, c), (bound, c), (weak, c), (x, bound_context)):
            np.testing.assert_array_equal(CONDITIONAL.log_prob(events_of, contexts), expected)
    assert events == []


@pytest.mark.as_compiled
def test_results_do_not_depend_on_chunks():
    batch = np.asarray(FLOW.log_prob(X))
    np.testing.assert_array_equal(batch[1024:2048], FLOW.log_prob(X[1024:2048]))
    parts = np.concatenate([FLOW.log_prob(part) for part in np.split(X, 10)])
    np.testing.assert_allclose(batch, parts, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(FLOW.log_prob(X[7]), batch[7], rtol=2e-6, atol=1e-5)


@pytest.mark.as_compiled
def test_log_prob_matches_log_prob_one():
    single = [float(FLOW.log_prob_one(jnp.asarray(x), None, None)) for x in X[:5]]
    np.testing.assert_allclose(FLOW.log_prob(X[:5]), single, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "context", "lead"),
    [((2,), (3,), ()), ((6, 2), (3,), (6,)), ((7, 2), (7, 3), (7,)), ((6, 1, 2), (7, 3), (6, 7)),
     ((2,), (7, 3), (7,)), ((0, 2), (3,), (0,)), ((0, 2), (0, 3), (0,)), ((1, 2), (7, 3), (7,))],
)  # fmt: skip
def test_leading_axes_broadcast(x, context, lead):
    x, context = X[: max(int(np.prod(x[:-1])), 1)].reshape(-1)[: int(np.prod(x))].reshape(x), np.resize(C, context)
    scores = CONDITIONAL.log_prob(x, context)
    assert scores.shape == lead
    for index in np.ndindex(*lead):
        one = np.broadcast_to(x, (*lead, 2))[index], np.broadcast_to(context, (*lead, 3))[index]
        np.testing.assert_allclose(scores[index], CONDITIONAL.log_prob(*one), atol=1e-5)


def test_axes_that_do_not_broadcast_raise():
    with pytest.raises(ValueError, match=r"context"):
        CONDITIONAL.log_prob(X[:5], C[:4])


@pytest.mark.parametrize("n", [(), 0, 1, 5, (2, 3), (0, 4), np.int64(4)])
def test_sample_shapes(n):
    shape = n if isinstance(n, tuple) else (int(n),)
    x, scores = FLOW.sample_and_log_prob(n, key=0)
    assert (x.shape, scores.shape) == ((*shape, 2), shape)
    assert FLOW.sample(n, key=0).shape == (*shape, 2)
    assert CONDITIONAL.sample(n, key=0, context=C[:4]).shape == (*shape, 4, 2)
    assert CONDITIONAL.given(C[0]).sample(n, key=0).shape == (*shape, 2)


def test_smaller_samples_are_prefixes_of_larger_ones():
    many = np.asarray(FLOW.sample(1500, key=3))
    for count in (1, 10, 1024, 1100):
        np.testing.assert_allclose(FLOW.sample(count, key=3), many[:count], atol=1e-6)
    both = CONDITIONAL.sample(40, key=3, context=C)
    np.testing.assert_allclose(CONDITIONAL.sample(4, key=3, context=C), both[:4], atol=1e-6)
    assert len(np.unique(many[:, 0])) == 1500


def test_ints_and_all_kinds_of_keys_are_accepted():
    same = [FLOW.sample(3, key=key) for key in (5, np.int32(5), jax.random.key(5), jax.random.PRNGKey(5))]
    for other in same[1:]:
        np.testing.assert_array_equal(same[0], other)
    assert not np.array_equal(same[0], FLOW.sample(3, key=6))


def test_samples_of_equal_contexts_differ():
    x = np.asarray(CONDITIONAL.sample(2, key=0, context=np.repeat(C[:1], 3, 0))).reshape(6, 2)
    assert len(np.unique(x[:, 0])) == 6


def test_given_equals_the_flow_with_that_context():
    np.testing.assert_allclose(CONDITIONAL.given(C[0]).log_prob(X[:9]), CONDITIONAL.log_prob(X[:9], C[0]), atol=1e-5)
    np.testing.assert_allclose(
        CONDITIONAL.given(C[0]).sample(9, key=2), CONDITIONAL.sample(9, key=2, context=C[0]), atol=1e-5
    )


def test_transformations_of_public_methods_match_concrete_calls():
    with quickly_compiled():
        expected = np.asarray(FLOW.log_prob(X[:20]))
        np.testing.assert_allclose(jax.jit(lambda x: FLOW.log_prob(x))(X[:20]), expected, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(jax.vmap(FLOW.log_prob)(X[:20]), expected, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(
            eqx.filter_jit(lambda f, x: f.log_prob(x))(FLOW, X[:20]), expected, rtol=2e-5, atol=1e-5
        )
        gradient = jax.grad(lambda x: FLOW.log_prob(x).sum())(jnp.asarray(X[:20]))
        single = jax.vmap(jax.grad(lambda x: FLOW.log_prob_one(x, None, None)))(jnp.asarray(X[:20]))
        np.testing.assert_allclose(gradient, single, rtol=1e-3, atol=1e-3)
        samples = jax.jit(lambda key: FLOW.sample(20, key=key))(jax.random.key(4))
        np.testing.assert_allclose(samples, FLOW.sample(20, key=4), rtol=2e-5, atol=1e-5)
        paths = jax.grad(lambda b: b.sample(5, key=0).sum(), allow_int=True)(FLOW)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(paths, eqx.is_inexact_array)))
        outer = jax.jit(lambda x, c: CONDITIONAL.log_prob(x, c))(X[:6, None], C)
        np.testing.assert_allclose(outer, CONDITIONAL.log_prob(X[:6, None], C), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("compiled", [jax.jit, eqx.filter_jit])
def test_bound_public_methods_are_pytrees_that_can_be_compiled(compiled):
    np.testing.assert_allclose(compiled(FLOW.log_prob)(jnp.asarray(X[:16])), FLOW.log_prob(X[:16]), rtol=1e-5)
    bound = jax.tree.leaves(FLOW.log_prob)
    assert [id(leaf) for leaf in bound] == [id(leaf) for leaf in jax.tree.leaves(FLOW)]


def test_calls_with_concrete_arguments_inside_jit():
    """The flow is then a constant of a larger program."""
    expected = np.asarray(FLOW.log_prob(X[:4]))
    np.testing.assert_allclose(jax.jit(lambda s: s * FLOW.log_prob(X[:4]))(1.0), expected, atol=1e-5)
    key = jax.random.key(0)
    samples = jax.jit(lambda s: s * FLOW.sample(4, key=key))(1.0)
    np.testing.assert_allclose(samples, FLOW.sample(4, key=0), atol=1e-5)


def test_nan_samples_raise():
    broken = Elementwise(Affine(), (2,))
    broken = eqx.tree_at(lambda b: b.parameters, broken, jnp.full((2, 2), jnp.nan))
    flow = pf.Flow(pf.bases.Normal((2,)), broken)
    with pytest.raises(NumericError, match=r"3 of 3 samples hold NaN, first at row 0"):
        flow.sample(3, key=0)


def test_density_is_zero_at_the_edge_of_the_support():
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Exp(), (1,)))
    assert float(flow.log_prob([[0.0]])[0]) == -np.inf


def test_far_points_have_density_zero_and_overflow_raises():
    assert float(FLOW.log_prob([[1e30, 0.0]])[0]) == -np.inf
    with pytest.raises(DataError, match=r"x: .*1e\+39"):
        FLOW.log_prob([[1e39, 0.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entry", ["x", "context"])
def test_errors_locate_non_finite_entries(value, entry):
    x, context = X[:5].copy(), np.resize(C, (5, 3)).copy()
    (x if entry == "x" else context)[3, 1] = value
    with pytest.raises(DataError, match=rf"{entry}: expected finite numbers, got {value} at row 3, column 1 \(1 of 5"):
        CONDITIONAL.log_prob(x, context)


def test_non_finite_contexts_raise_in_sample_and_given():
    with pytest.raises(DataError, match=r"context: expected finite numbers, got nan at row 0, column 0"):
        CONDITIONAL.sample(2, key=0, context=[np.nan, 0.0, 0.0])
    with pytest.raises(DataError, match=r"context: expected finite numbers, got nan"):
        CONDITIONAL.given([np.nan, 0.0, 0.0])


def test_one_dimensional_data_have_shape_n_1():
    flow = pf.elementwise_flow(dim=1, key=0)
    assert flow.log_prob(np.zeros((4, 1))).shape == (4,)
    with pytest.raises(
        ShapeError, match=r"x: expected shape \(\.\.\., 1\), got \(4,\)\. .*pass np\.asarray\(x\)\[:, None\]"
    ):
        flow.log_prob(np.zeros(4))


@pytest.mark.parametrize(
    "kind",
    ["list", "float64", "float16", "bfloat16", "ml_dtypes", "int", "bool", "jax", "fortran", "read-only", "strided"],
)
def test_kinds_of_array_are_accepted(kind):
    batch = np.arange(6).reshape(3, 2) % 2
    read_only = batch.astype(float)
    read_only.setflags(write=False)
    x = {
        "list": batch.tolist(), "float64": batch.astype(np.float64), "float16": batch.astype(np.float16), "int": batch,
        "bfloat16": jnp.asarray(batch, jnp.bfloat16), "ml_dtypes": np.asarray(jnp.asarray(batch, jnp.bfloat16)),
        "bool": batch.astype(bool), "jax": jnp.asarray(batch), "fortran": np.asfortranarray(batch, float),
        "read-only": read_only, "strided": np.repeat(batch, 2, 0)[::2],
    }[kind]  # fmt: skip
    scores = FLOW.log_prob(x)
    assert scores.dtype == jnp.float32
    np.testing.assert_array_equal(scores, FLOW.log_prob(batch.astype(np.float32)))


def test_frames_and_tensors_are_accepted():
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(FLOW.log_prob(polars.DataFrame({"a": X[:9, 0], "b": X[:9, 1]})), FLOW.log_prob(X[:9]))

    class Frame:  # the protocol of pandas
        def to_numpy(self):
            return X[:9]

    class Tensor:  # the protocol of other array libraries
        def __dlpack__(self, **options):
            return X[:9].__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    np.testing.assert_array_equal(FLOW.log_prob(Frame()), FLOW.log_prob(X[:9]))
    np.testing.assert_array_equal(FLOW.log_prob(Tensor()), FLOW.log_prob(X[:9]))


def test_nullable_pandas_columns_are_accepted():
    pandas = pytest.importorskip("pandas")
    batch, parts = np.arange(9), X[:9, 1].astype(np.float64)
    frame = pandas.DataFrame({"a": pandas.array(batch, "Int64"), "b": pandas.array(parts, "Float64")})
    np.testing.assert_array_equal(FLOW.log_prob(frame), FLOW.log_prob(np.column_stack([batch, parts])))
    assert np.array_equal(as_rows("x", frame, (2,)), np.column_stack([batch, parts]))
    assert np.array_equal(as_rows("x", frame[["b"]], (1,))[:, 0], parts)
    assert pf.check(FLOW, frame, key=0).rows
    frame.loc[3, "b"] = pandas.NA
    with pytest.raises(DataError, match=r"nan in column 'b' at row 3"):
        as_rows("x", frame, (2,))
    with pytest.raises(DataError, match="NaN"):
        pf.check(FLOW, frame)
    with pytest.raises(DataError, match="type object"):
        as_rows("x", frame.assign(b=["1.5"] * 9), (2,))


def test_the_dtype_is_that_of_the_flow():
    """A float32 flow computes in float32, under x64 too; the float64 moments of Standardise do not change that."""
    with jax.enable_x64(True):
        assert FLOW.log_prob(X[:3].astype(np.float64)).dtype == jnp.float32
        assert FLOW.sample(3, key=0).dtype == jnp.float32


def test_contexts_reach_conditional_layers():
    flow = pf.Flow(pf.bases.Normal((3,)), conditional(Elementwise(Affine(), (3,))))
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    flow = eqx.combine(randomised(trained, 0.5), rest)
    scores = flow.log_prob(np.zeros((1, 3)), C[:4, :2])
    assert len(np.unique(scores)) == 4


def test_sample_matches_sample_and_log_prob():
    """Two programs, one of which omits the log-density: the same samples, up to rounding."""
    np.testing.assert_allclose(FLOW.sample(20, key=3), FLOW.sample_and_log_prob(20, key=3)[0], rtol=1e-5, atol=1e-5)


def test_batches_on_an_accelerator_stay_there(monkeypatch):
    """One number comes to the host, nothing else; NaN and infinite numbers are refused there too."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    flow, x = pf.real_nvp(2, n_layers=2, width=8, key=0), jax.random.normal(jax.random.key(1), (256, 2))
    far = eqx.tree_at(lambda f: f.bijection.bijections[-1].mean, flow, np.array([5.4e6, 0.0]))
    copied: list[tuple[int, ...]] = []
    as_numpy = np.asarray

    def recorded(function):
        def wrapper(value, *more, **named):
            if isinstance(value, jax.Array):
                copied.append(value.shape)
            return function(value, *more, **named)

        return wrapper

    shifted = jnp.round(x) + jnp.array([[5.4e6, 0.0]])  # exact in float32
    expected, far_expected = flow.log_prob(as_numpy(x)), far.log_prob(as_numpy(shifted))
    flow.sample(256, key=0), flow.sample(200, key=0)
    with monkeypatch.context() as patched:
        for name in ("asarray", "isnan", "isfinite"):
            patched.setattr(np, name, recorded(getattr(np, name)))
        scores = [flow.log_prob(x), flow.log_prob(x[:200]), flow.log_prob(x.reshape(2, 128, 2))]
        samples = [flow.sample(256, key=0), flow.sample(200, key=0)]
        far_scores = far.log_prob(shifted)
    assert set(copied) == {()}
    np.testing.assert_array_equal(scores[0], expected)
    np.testing.assert_allclose(scores[1], expected[:200], rtol=1e-5)
    np.testing.assert_allclose(scores[2].reshape(256), expected, rtol=1e-5)
    np.testing.assert_allclose(samples[1], samples[0][:200], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(far_scores, far_expected, rtol=1e-4)
    with pytest.raises(DataError, match="x: expected finite numbers, got nan at row 3, column 1"):
        flow.log_prob(x.at[3, 1].set(jnp.nan))
