"""Linear layers of images against dense matrices built from their kernels entry by entry."""

import functools
import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivative_checks import check_derivatives
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import (
    PLU,
    ActivationNormalisation,
    Chain,
    Dense,
    EmergingConvolution,
    Householder,
    MaskedConvolution,
    OneByOne,
    PeriodicConvolution,
    Permutation,
    Repeat,
    Triangular,
)
from pushforward.bijections.convolutional.masks import MASKS, Mask
from pushforward.bijections.convolutional.small_matrices import inverse_and_log_det
from pushforward.bijections.convolutional.solve import ORDERS, solve_masked
from pushforward.core.state import initialise_layers
from pushforward.errors import DataError, NumericError, ShapeError

KERNELS = [(kind, side, rotation) for kind in MASKS for side in (3, 5) for rotation in range(4)]
SHAPES = [(1, 1, 2), (1, 4, 1), (4, 1, 2), (3, 4, 2), (4, 3, 1), (5, 5, 1), (2, 3, 3)]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def perturbed(tree, scale=0.3, seed=0):
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(tree, pf.trainable(tree))
    return eqx.combine(jax.tree.map(lambda leaf: leaf + scale * random.normal(size=leaf.shape), trained), rest)


def matrix_of(method, shape):
    """The Jacobian by automatic differentiation, as a matrix of the flattened image."""
    size = int(np.prod(shape))
    return np.asarray(jax.jit(jax.jacrev(method))(jnp.zeros(shape))).reshape(size, size)


def dense_matrix(shape, kernel, is_periodic=False):
    """The matrix of z[p] = sum over offsets of kernel[offset] x[p + offset], entry by entry."""
    height, width, channels = shape
    matrix = np.zeros((height, width, channels, height, width, channels))
    for i, j in np.ndindex(height, width):
        for (row, column), tap in kernel.items():
            k, m = i + row, j + column
            if is_periodic:
                matrix[i, j, :, k % height, m % width, :] += tap
            elif 0 <= k < height and 0 <= m < width:
                matrix[i, j, :, k, m, :] += tap
    size = height * width * channels
    return matrix.reshape(size, size)


def neighbours(kind, side, rotation):
    """The neighbours of a mask, from a rotated grid instead of rotated offsets."""
    radius = (side - 1) // 2
    grid = np.arange(side * side).reshape(side, side)
    rotated = np.rot90(grid, -rotation)  # rotated so that the order is row by row
    centre = radius * side + radius
    before = list(rotated.reshape(-1)[: list(rotated.reshape(-1)).index(centre)])
    if kind == "quadrant":
        before = [cell for cell in before if np.argwhere(rotated == cell)[0][1] <= radius]
    return [(int(cell) // side - radius, int(cell) % side - radius) for cell in before]


def kernel_of(layer):
    """Offset -> matrix of a masked convolution, with its centre computed here."""
    factor, channels = np.asarray(layer.factor), layer.shape[2]
    diagonal = np.log1p(np.exp(np.asarray(layer.diagonal) + np.log(np.expm1(1 - layer.min_diagonal))))
    triangle = np.tril(factor, -1) if layer.rotation < 2 else np.triu(factor, 1)
    kernel = dict(zip(neighbours(layer.mask, layer.kernel_size, layer.rotation), np.asarray(layer.taps), strict=True))
    return {**kernel, (0, 0): triangle + np.diag(diagonal + layer.min_diagonal) * np.eye(channels)}


def masked(shape, kind, side, rotation, order=None, scale=0.3, seed=0):
    layer = MaskedConvolution(shape, kernel_size=side, mask=kind, rotation=rotation, order=order)
    return perturbed(layer, scale, seed)


@pytest.mark.parametrize("kernel", quick_few(KERNELS, KERNELS[5], KERNELS[15]), ids=str)
def test_masked_convolution_matches_its_dense_matrix(double, kernel):
    shape = (3, 4, 2)
    layer = masked(shape, *kernel)
    matrix = dense_matrix(shape, kernel_of(layer))
    np.testing.assert_allclose(matrix_of(layer.inverse, shape), matrix, atol=1e-13)
    np.testing.assert_allclose(matrix_of(layer.forward, shape), np.linalg.inv(matrix), rtol=1e-10, atol=1e-10)
    log_dets = [method(jnp.zeros(shape))[1] for method in (layer.inverse_and_log_det, layer.forward_and_log_det)]
    np.testing.assert_allclose(log_dets, np.linalg.slogdet(matrix)[1] * np.array([1, -1]), atol=1e-12)


@pytest.mark.parametrize(("kind", "side", "rotation"), KERNELS)
def test_matrix_is_triangular_in_the_order_of_the_mask(kind, side, rotation):
    """The matrix is built from the kernel; two more rotations reverse the order of all entries."""
    shape = (3, 4, 2)
    layer = masked(shape, kind, side, rotation)
    matrix = dense_matrix(shape, kernel_of(layer)).reshape(*shape, *shape)
    walk = np.rot90(np.arange(3 * 4 * 2).reshape(shape), -rotation)
    walk = (walk if rotation < 2 else walk[:, :, ::-1]).reshape(-1)
    ordered = matrix.reshape(24, 24)[np.ix_(walk, walk)]
    assert not np.triu(ordered, 1).any()
    assert np.tril(ordered, -1).any()
    assert (np.diag(ordered) > 0).all()
    assert list(Mask(kind, side, rotation).offsets) == neighbours(kind, side, rotation)


def covering():
    """Every pair of (kernel, order) and, in a cycle, every shape, batch and type."""
    rest = itertools.cycle(itertools.product(SHAPES, (0, 1, 5), ("float64", "float32")))
    steps = (next(itertools.islice(rest, 10, 11)) for _ in itertools.count())  # 42 combinations, in steps of 11
    return [(*kernel, order, *next(steps)) for kernel, order in itertools.product(KERNELS, ORDERS)]


CASES = covering()
# the padding of a skewed image matters if a pixel depends on those above to its right
SKEWED = next(c for c in CASES if c[0] == "raster" and c[3] == "wavefront" and min(c[4][:2]) > 2)


@pytest.mark.parametrize("case", quick_few(CASES, *CASES[::14], SKEWED), ids=str)
def test_every_order_solves_the_dense_system(double, case):
    kind, side, rotation, order, shape, batch, dtype = case
    layer = masked(shape, kind, side, rotation, order)
    matrix, random = dense_matrix(shape, kernel_of(layer)), np.random.default_rng(1)
    x = random.normal(size=(max(batch, 1), *shape))
    z = np.einsum("pq,nq->np", matrix, x.reshape(len(x), -1)).reshape(x.shape) + np.asarray(layer.bias)
    layer = jax.tree.map(lambda leaf: leaf.astype(dtype), layer)
    z = jnp.asarray(z, dtype)
    result = jax.jit(jax.vmap(layer.forward))(z) if batch else layer.forward(z[0])[None]
    assert result.dtype == dtype
    rounding = np.finfo(dtype).eps * np.linalg.cond(matrix) * np.abs(x).max()
    np.testing.assert_allclose(result, x[: len(result)], rtol=0, atol=20 * rounding)


@pytest.mark.parametrize("is_mapped", quick_few([False, True], True), ids=["shared kernel", "a kernel for each image"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("kind", "rotation"), [("raster", 0), ("quadrant", 3)])
def test_gradients_match_the_dense_solution(double, kind, rotation, order, is_mapped):
    shape, mask = (3, 4, 2), Mask(kind, 3, rotation)
    random = np.random.default_rng(2)
    lead = (5,) if is_mapped else ()
    taps = jnp.asarray(0.3 * random.normal(size=(*lead, len(mask.offsets), 2, 2)))
    centre = np.tril if mask.is_lower else np.triu
    centre = jnp.asarray(centre(0.3 * random.normal(size=(*lead, 2, 2)) + 1.5 * np.eye(2)))
    right, weights = jnp.asarray(random.normal(size=(5, *shape))), random.normal(size=(5, *shape))
    unit = np.stack([dense_matrix(shape, {offset: np.ones((2, 2))}) for offset in mask.offsets])
    block = dense_matrix(shape, {(0, 0): np.ones((2, 2))})

    def by_matrix(taps, centre, right):
        matrix = jnp.sum(unit * jnp.tile(taps, (1, 12, 12)), 0) + block * jnp.tile(centre, (12, 12))
        return jnp.linalg.solve(matrix, right.reshape(-1)).reshape(shape)

    axes = (0, 0, 0) if is_mapped else (None, None, 0)

    def loss(solve):
        return jax.jit(jax.grad(lambda *args: jnp.sum(weights * jnp.sin(jax.vmap(solve, axes)(*args))), (0, 1, 2)))

    ours = loss(functools.partial(solve_masked, mask, order))(taps, centre, right)
    exact = loss(by_matrix)(taps, centre, right)
    triangle = jnp.tril if mask.is_lower else jnp.triu
    for mine, theirs in zip(ours, (exact[0], triangle(exact[1]), exact[2]), strict=True):
        mine = triangle(mine) if mine.shape[-2:] == (2, 2) and mine.shape == centre.shape else mine
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10)


TWICE = {
    "pixel": lambda: MaskedConvolution((2, 4, 1), order="pixel"),
    "wavefront": lambda: Repeat([MaskedConvolution((2, 3, 2), order="wavefront") for _ in range(2)]),
    "rows": lambda: MaskedConvolution((3, 3, 2), mask="quadrant", order="rows"),
    "emerging": lambda: EmergingConvolution((3, 4, 2), key=jax.random.key(0)),
    "repeated": lambda: Repeat([EmergingConvolution((2, 4, 1), key=jax.random.key(i)) for i in range(2)]),
    "periodic": lambda: PeriodicConvolution((3, 4, 2)),
    "one by one": lambda: OneByOne(PLU(2, key=jax.random.key(0)), (2, 2, 2)),
}


@pytest.mark.slow  # the quick battery has a row of it
@pytest.mark.parametrize("kind", TWICE)
def test_derivatives_agree_with_differences(kind):
    check_derivatives(TWICE[kind](), "forward_and_log_det")


def test_gradient_of_shared_kernels_is_one_product():
    """The program has no gradient of the taps for each image: no array of it has such a shape."""
    layer, x = MaskedConvolution((7, 8, 5), key=jax.random.key(0)), jnp.ones((17, 7, 8, 5))

    def loss(layer, z):
        return jnp.sum(jax.vmap(layer.forward)(z) ** 2)

    program = str(jax.make_jaxpr(jax.grad(loss))(layer, x))
    for shape in re.findall(r"\w+\[([\d,]*)\]", program):
        sides = [int(side) for side in shape.split(",") if side]
        assert not (17 in sides and sides.count(5) >= 2), shape


@pytest.mark.parametrize("kernel", quick_few([3, 5], 3))
@pytest.mark.parametrize("kind", MASKS)
def test_receptive_field_of_an_emerging_convolution(double, kind, kernel):
    """Perturb each entry of the image and compare which central outputs change."""
    side, radius = 4 * kernel - 1, (kernel - 1) // 2
    layer = perturbed(EmergingConvolution((side, side, 1), kernel_size=kernel, mask=kind), 0.1)
    middle = side // 2
    steps = jnp.eye(side * side).reshape(-1, side, side, 1)
    out = jax.jit(jax.vmap(lambda x: layer.inverse(x)[middle, middle, 0]))(steps)
    field = (np.asarray(out) != layer.inverse(jnp.zeros((side, side, 1)))[middle, middle, 0]).reshape(side, side)
    offsets = {(int(i) - middle, int(j) - middle) for i, j in np.argwhere(field)}
    if kind == "quadrant":
        expected = set(itertools.product(range(-radius, radius + 1), repeat=2))
    else:
        expected = set(itertools.product(range(-radius, radius + 1), range(-2 * radius, 2 * radius + 1)))
        expected -= {(-radius, column) for column in range(-2 * radius, -radius)}
        expected -= {(radius, column) for column in range(radius + 1, 2 * radius + 1)}
    assert offsets == expected


def test_emerging_convolution_matches_the_product_of_its_matrices(double):
    shape = (3, 4, 2)
    layer = perturbed(EmergingConvolution(shape, kernel_size=3, key=jax.random.key(0)), 0.2)
    channels = matrix_of(layer.mixing.inner.inverse, (2,))
    first, second = (dense_matrix(shape, kernel_of(part)) for part in (layer.first, layer.second))
    product = second @ first @ np.kron(np.eye(12), channels)
    np.testing.assert_allclose(matrix_of(layer.inverse, shape), product, atol=1e-12)
    np.testing.assert_allclose(
        layer.inverse_and_log_det(jnp.zeros(shape))[1], np.linalg.slogdet(product)[1], atol=1e-12
    )


@pytest.mark.parametrize("shape", quick_few(SHAPES, (3, 4, 2), (1, 4, 1)))
@pytest.mark.parametrize("side", [3, 7])
def test_periodic_convolution_matches_its_circulant_matrix(double, shape, side):
    """Also for a kernel larger than the image, which wraps around."""
    layer = perturbed(PeriodicConvolution(shape, kernel_size=side), 0.4 / side)
    offsets = range(-(side // 2), side // 2 + 1)
    kernel = {(a, b): np.asarray(layer.taps)[a + side // 2, b + side // 2] for a in offsets for b in offsets}
    matrix = dense_matrix(shape, kernel, is_periodic=True) + np.eye(int(np.prod(shape)))
    np.testing.assert_allclose(matrix_of(layer.inverse, shape), matrix, atol=1e-12)
    np.testing.assert_allclose(matrix_of(layer.forward, shape), np.linalg.inv(matrix), rtol=1e-9, atol=1e-10)
    log_dets = [method(jnp.zeros(shape))[1] for method in (layer.inverse_and_log_det, layer.forward_and_log_det)]
    np.testing.assert_allclose(log_dets, np.linalg.slogdet(matrix)[1] * np.array([1, -1]), atol=1e-11)


@pytest.mark.parametrize("side", quick_few([4, 6], 4))
def test_singular_periodic_kernel_raises(side):
    """Zero at the highest frequency of columns: an error for concrete arrays, NaN under a trace, never infinity."""
    shape = (3, side, 1)
    average = np.zeros((3, 3, 1, 1))
    average[1, :, 0, 0] = 0.25, -0.5, 0.25
    layer = eqx.tree_at(lambda p: p.taps, PeriodicConvolution(shape), jnp.asarray(average, jnp.float32))
    for method in (layer.forward_and_log_det, layer.inverse_and_log_det):
        with pytest.raises(NumericError, match=r"regular at all frequencies.*Move the taps"):
            method(jnp.ones(shape))
    flow = pf.Flow(pf.bases.Normal(shape), layer)
    with pytest.raises(NumericError):
        flow.log_prob(np.ones((2, *shape)))
    with pytest.raises(NumericError):
        flow.sample(2, key=0)
    # an odd width has no such frequency, so the layer is regular
    odd = eqx.tree_at(lambda p: p.taps, PeriodicConvolution((3, 5, 1)), jnp.asarray(average, jnp.float32))
    assert np.isfinite(odd.forward_and_log_det(jnp.ones((3, 5, 1)))[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("side", [4, 8, 16, 32])
def test_errors_along_the_image_are_rounding(order, side):
    """V1: float32, two channels, a kernel whose absolute taps sum to the diagonal."""
    layer = MaskedConvolution((side, side, 2), order=order, key=jax.random.key(side))
    layer = eqx.tree_at(lambda m: m.taps, layer, layer.taps / jnp.sum(jnp.abs(layer.taps), (0, 2))[None, :, None])
    x = np.random.default_rng(3).normal(size=(8, side, side, 2)).astype(np.float32)
    back = jax.jit(jax.vmap(lambda x: layer.forward(layer.inverse(x))))(x)
    assert np.abs(back - x).max() < 2e-7 * side**2


@pytest.mark.parametrize("side", quick_few([6, 16], 6))
def test_taps_larger_than_the_diagonal_are_reported(side):
    """V1: ten times the diagonal: float32 loses all digits at 6 x 6 pixels and overflows at 16 x 16."""
    layer = MaskedConvolution((side, side, 1))
    layer = eqx.tree_at(lambda m: m.taps, layer, jnp.full_like(layer.taps, 10.0))
    flow = pf.Flow(pf.bases.Normal((side, side, 1)), layer)
    if side == 16:
        with pytest.raises(NumericError, match="NaN"):
            flow.sample(2, key=0)
        return
    failed = [row.name for row in pf.check(flow, key=0).rows if row.ok is False]
    assert failed == ["condition number"]


CHANNELS = {
    "PLU": lambda: PLU(3, key=jax.random.key(1)),
    "QR": lambda: Chain([Triangular(3, lower=False), Householder(3, key=jax.random.key(1))]),
    "Dense": lambda: Dense(3),
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_one_by_one_matches_the_block_diagonal_matrix(double, kind):
    """V3: the dense matrix of a 2 x 2 x 3 image, and the log-determinant H W times that of the channels."""
    inner = perturbed(CHANNELS[kind]())
    layer, block = OneByOne(inner, (2, 2, 3)), matrix_of(inner.forward, (3,))
    np.testing.assert_allclose(matrix_of(layer.forward, (2, 2, 3)), np.kron(np.eye(4), block), atol=1e-13)
    x, log_det = layer.forward_and_log_det(jnp.ones((2, 2, 3)))
    back, other = layer.inverse_and_log_det(x)
    np.testing.assert_allclose(back, 1.0, rtol=1e-10)
    np.testing.assert_allclose([log_det, -other], 4 * np.linalg.slogdet(block)[1], rtol=1e-11)


def test_one_by_one_of_a_large_image_does_not_overflow():
    """V3: 64 x 64 pixels whose determinant alone is beyond float32."""
    inner = eqx.tree_at(lambda plu: plu.diagonal, PLU(3), jnp.full(3, 30.0))
    log_det = OneByOne(inner, (64, 64, 3)).forward_and_log_det(jnp.ones((64, 64, 3)))[1]
    np.testing.assert_allclose(log_det, 64 * 64 * inner.forward_and_log_det(jnp.ones(3))[1], rtol=1e-6)


@pytest.mark.parametrize("kind", CHANNELS)
def test_one_by_one_factorises_once_per_batch(kind):
    """The program of a batch has one factorisation; triangles are inverted once, or all pixels are right-hand sides."""
    layer, x = OneByOne(CHANNELS[kind](), (4, 5, 3)), jnp.ones((7, 4, 5, 3))

    def batched(layer, x):
        return jax.vmap(layer.inverse_and_log_det)(x)

    program = jax.jit(batched).lower(layer, x).as_text()
    calls = [line for line in program.split("\n") if "@lapack" in line]
    assert all('num_batch_dims = "0"' in call for call in calls)
    assert sum("getrf" in call for call in calls) <= 2  # of Dense: one to solve, one for the log-determinant
    operands = [
        re.search(r" : \(tensor<(\d+)x\1xf32>, tensor<([\dx]+)xf32>\)", call) for call in calls if "trsm" in call
    ]
    assert operands
    for match in operands:
        assert np.prod([int(side) for side in match[2].split("x")]) in (int(match[1]) * 7 * 4 * 5, int(match[1]) ** 2)


def test_activation_normalisation_starts_from_the_data():
    random = np.random.default_rng(4)
    x = np.array([5.0, -300.0, 1e-3]) + np.array([0.1, 20.0, 1e-5]) * random.normal(size=(50, 3, 4, 3))
    layer = ActivationNormalisation((3, 4, 3)).initialised(x)
    z = np.asarray(jax.vmap(layer.inverse)(x.astype(np.float32)), np.float64)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-4)
    log_det = layer.forward_and_log_det(jnp.zeros((3, 4, 3)))[1]
    np.testing.assert_allclose(log_det, 12 * np.log(x.std((0, 1, 2))).sum(), rtol=1e-5)
    assert layer.initialised(x + 1) is layer  # initialised once
    vectors = ActivationNormalisation((2,)).initialised(np.array([[1.0, 2.0], [3.0, 8.0]]))
    np.testing.assert_allclose(vectors.inverse(jnp.array([3.0, 8.0])), 1.0, rtol=1e-6)


def test_activation_normalisation_of_constant_channels_only_shifts():
    x = np.stack([np.full((10, 2, 2), 3.1), np.random.default_rng(5).normal(size=(10, 2, 2))], -1)
    layer = ActivationNormalisation((2, 2, 2)).initialised(x)
    np.testing.assert_allclose(layer.shift[0], 3.1, rtol=1e-6)
    assert layer.log_scale[0] == 0
    one = ActivationNormalisation((2,)).initialised(np.array([[4.0, 5.0]]))  # a single sample has no spread
    np.testing.assert_allclose(one.inverse(jnp.array([4.0, 5.0])), 0.0)


def test_activation_normalisation_starts_layer_by_layer():
    """Through Chain and Repeat, each layer from its inputs; the final z is standardised."""
    x = 7 + 3 * np.random.default_rng(6).normal(size=(200, 2, 2, 3))
    block = lambda seed: Chain(  # noqa: E731
        [
            OneByOne(perturbed(PLU(3, key=jax.random.key(seed)), seed=seed), (2, 2, 3)),
            ActivationNormalisation((2, 2, 3)),
        ]
    )
    layers = initialise_layers(Chain([ActivationNormalisation((2, 2, 3)), Repeat([block(1), block(2)])]), x)
    z = np.asarray(jax.vmap(layers.inverse)(x.astype(np.float32)))
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-3)


IMAGE = (2, 2, 3)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: MaskedConvolution((2, 2)), ShapeError, r"shape: expected \(height, width, channels\).*got \(2, 2\)"),
        (lambda: PeriodicConvolution((2, 0, 1)), ShapeError, "each at least 1"),
        (lambda: MaskedConvolution(IMAGE, kernel_size=4), ValueError, "kernel_size: expected an odd number.*got 4"),
        (lambda: PeriodicConvolution(IMAGE, kernel_size=1), ValueError, "kernel_size.*got 1.*OneByOne"),
        (lambda: EmergingConvolution(IMAGE, mask="star"), ValueError, "mask: expected one of 'raster', 'quadrant'"),
        (lambda: MaskedConvolution(IMAGE, rotation=4), ValueError, "rotation: expected 0, 1, 2 or 3.*got 4"),
        (lambda: MaskedConvolution(IMAGE, min_diagonal=0.0), ValueError, "min_diagonal"),
        (lambda: MaskedConvolution(IMAGE, order="spiral"), ValueError, "order: expected one of 'pixel'.*'spiral'"),
        (lambda: OneByOne(Permutation([1, 0]), IMAGE), ShapeError, r"inner: expected.*3 channels.*got Permutation"),
        (lambda: OneByOne(PLU(3), (3,)), ShapeError, "shape: expected"),
        (lambda: ActivationNormalisation(()), ShapeError, "shape: expected at least one axis"),
        (lambda: ActivationNormalisation(IMAGE).initialised(np.zeros((0, 2, 2, 3))), DataError, "at least one row"),
        (lambda: ActivationNormalisation((1,)).initialised(np.array([[np.nan]])), DataError, "finite rows"),
        (lambda: MaskedConvolution(IMAGE).forward(jnp.zeros((5, *IMAGE))), ShapeError, "one sample"),
    ],
)  # fmt: skip
def test_wrong_use_raises_a_clear_error(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("size", [1, 2, 12, 48])
def test_elimination_error_is_bounded_by_the_condition(size):
    random = np.random.default_rng(size)
    matrices = random.normal(size=(3, 2, size, size)) + 1j * random.normal(size=(3, 2, size, size))
    exact, log_dets = np.linalg.inv(matrices), np.linalg.slogdet(matrices)[1]
    single = matrices.astype(np.complex64)
    inverses, results = inverse_and_log_det(jnp.asarray(single))
    assert inverses.dtype == np.complex64
    singular = np.linalg.svd(matrices, compute_uv=False)
    allowed = (
        np.finfo(np.float32).eps * singular[..., 0] / singular[..., -1] ** 2
    )  # eps, condition, norm of the inverse
    assert (np.linalg.norm(inverses - exact, 2, axis=(-2, -1)) < 2 * allowed).all()
    np.testing.assert_allclose(results, log_dets, rtol=1e-5, atol=1e-5)


def test_elimination_pivots_and_differentiates_by_the_formulas():
    with jax.enable_x64(True):
        swap = jnp.array([[0.0, 2.0], [1.0, 0.0]], complex)
        inverses, log_det = inverse_and_log_det(swap)
        np.testing.assert_allclose(inverses, [[0, 1], [0.5, 0]])
        np.testing.assert_allclose(log_det, np.log(2))
        assert not np.isfinite(inverse_and_log_det(jnp.zeros((2, 2), complex))[1])
        random = np.random.default_rng(0)
        parts = jnp.asarray(random.normal(size=(2, 4, 3, 3)))

        def total(parts, inverse, log_det_of):
            matrices = parts[0] + 1j * parts[1]
            return jnp.sum(jnp.abs(inverse(matrices)) ** 2) + jnp.sum(log_det_of(matrices))

        ours = jax.grad(lambda p: total(p, lambda m: inverse_and_log_det(m)[0], lambda m: inverse_and_log_det(m)[1]))(
            parts
        )
        theirs = jax.grad(lambda p: total(p, jnp.linalg.inv, lambda m: jnp.linalg.slogdet(m)[1]))(parts)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
