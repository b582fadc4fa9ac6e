"""Arrays of other libraries come in by DLPack, and results go out by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import DataError
from pushforward.train.data import as_rows

X = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
FLOW = pf.Flow(pf.bases.Normal((2,)), pf.bijections.Elementwise(pf.bijections.Affine(0.5), (2,)))


class Tensor:
    """An array of another library: it exports its memory and has no other method."""

    def __init__(self, array, device=None, fails=None):
        self.array, self.device, self.fails = array, device, fails

    def __dlpack__(self, **options):
        if self.fails:
            raise self.fails
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()


class OldTensor(Tensor):
    """The protocol before its version 1.0, without keywords."""

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        X, read_only(X), X[::-1], np.repeat(X, 2, 0)[::2], np.asfortranarray(X), X[:0], X > 0,
        (10 * X).astype(np.int32), np.abs(10 * X).astype(np.uint8), X.astype(np.float16), X.astype(np.float64),
        jnp.asarray(X), jnp.asarray(X, jnp.bfloat16),
    ],
    ids="plain read-only reversed strided fortran empty bool int uint8 float16 float64 jax bfloat16".split(),
)  # fmt: skip
def test_tensors_equal_the_arrays_that_they_hold(array):
    expected = np.asarray(array).astype(np.float64)
    np.testing.assert_array_equal(as_rows("x", Tensor(array), (2,)), expected)
    np.testing.assert_array_equal(FLOW.log_prob(Tensor(array)), FLOW.log_prob(expected))


def test_the_older_protocol_is_read():
    np.testing.assert_array_equal(FLOW.log_prob(OldTensor(X)), FLOW.log_prob(X))


def test_tensors_serve_as_contexts_and_weights():
    flow = pf.maf(2, context_dim=1, n_layers=1, width=4, depth=1, key=0)
    context = X[:, 1:]
    np.testing.assert_array_equal(flow.log_prob(Tensor(X), Tensor(context)), flow.log_prob(X, context))
    np.testing.assert_array_equal(
        flow.sample(2, key=0, context=Tensor(context)), flow.sample(2, key=0, context=context)
    )
    given = flow.given(Tensor(context[0]))
    np.testing.assert_array_equal(given.log_prob(X), flow.log_prob(X, context[0]))
    x, weights = np.random.default_rng(1).normal(size=(40, 2)), np.arange(40.0)
    fits = [
        pf.fit(FLOW, kind(x), weights=kind(weights), key=0, max_epochs=1, progress=False)[0].log_prob(X)
        for kind in (np.asarray, Tensor)
    ]
    np.testing.assert_array_equal(*fits)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(X, fails=RuntimeError("requires gradient, use tensor.detach()")),
        Tensor(X, device=(2, 0), fails=BufferError("on device cuda:0")),
    ],
)
def test_unreadable_tensors_are_refused(tensor):
    for call in (FLOW.log_prob, lambda x: pf.fit(FLOW, x, key=0)):
        with pytest.raises(DataError, match=r"^x: expected an array whose memory DLPack .* a Tensor .*detach.*cpu"):
            call(tensor)


def test_results_are_exported_without_a_copy():
    for result in (FLOW.sample(5, key=0), FLOW.log_prob(X)):
        assert isinstance(result, jax.Array)
        array = np.from_dlpack(result)
        assert array.ctypes.data == result.unsafe_buffer_pointer()
        np.testing.assert_array_equal(array, result)
