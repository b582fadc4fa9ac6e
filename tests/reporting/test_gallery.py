"""Parts of the gallery: masks, Jacobians, fitted shapes, and pictures of densities and costs."""

import base64
import io
import re

import numpy as np
import pytest

from pushforward.reporting.gallery.card import QUICK, Budget, Card, Matrix
from pushforward.reporting.gallery.families import BY_NAME
from pushforward.reporting.gallery.measure import Shape, fit_shape, make_shape, without_unroll
from pushforward.reporting.gallery.pictures import cost_svg, density_png, matrix_svg
from pushforward.reporting.gallery.structure import block_masks, factors, jacobians, masks, perturbed
from pushforward.reporting.plots.canvas import GRID


def pixels(address):
    from PIL import Image

    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))).convert("RGB")
    )


def test_masks_are_strictly_autoregressive():
    dependence = np.eye(5)
    for matrix in masks(BY_NAME["iaf"].build(5, 1, 0)):
        assert matrix.is_mask
        dependence = matrix.values.astype(float) @ dependence
    np.testing.assert_array_equal(dependence > 0, np.tri(5, k=-1, dtype=bool))


def test_block_masks_are_block_triangular():
    first, *_, last = block_masks(BY_NAME["bnaf"].build(3, 1, 0))
    assert first.values.shape == (24, 3)
    assert last.values.shape == (3, 24)
    np.testing.assert_array_equal(first.values[::8], np.eye(3) - 0.4 * np.tri(3, k=-1))


def test_factors_of_a_linear_layer_have_their_structure():
    permutation, lower, upper, rotation, triangular = (
        part.values for part in factors(BY_NAME["linear"].build(4, 1, 0))
    )
    np.testing.assert_array_equal(np.sort(permutation, axis=0)[-1], np.ones(4))
    np.testing.assert_array_equal(np.triu(lower, 1), np.zeros((4, 4)))
    np.testing.assert_array_equal(np.tril(upper, -1), np.zeros((4, 4)))
    np.testing.assert_array_equal(np.tril(triangular, -1), np.zeros((4, 4)))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-5)


def test_jacobian_has_the_zeros_of_its_family():
    one, two = jacobians(BY_NAME["maf"], Budget(jacobian_dim=3), seed=0)
    np.testing.assert_array_equal(one.values != 0, np.tri(3, dtype=bool))
    assert (two.values != 0).all()
    assert one.title == "1 layer: 3 of 9 are zero"


def test_without_unroll_leaves_log_prob_unchanged():
    flow = perturbed(BY_NAME["maf"].build(3, 2, 0), 0)
    assert flow.bijection.bijections[0].unroll == 2
    other = without_unroll(flow)
    assert other.bijection.bijections[0].unroll == 1
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_allclose(flow.log_prob(rows), other.log_prob(rows), rtol=1e-5)


def test_diverged_fit_is_reported(monkeypatch):
    from pushforward.errors import TrainingDiverged
    from pushforward.reporting.gallery import measure

    def diverging(*parts, **options):
        raise TrainingDiverged("training diverged")

    monkeypatch.setattr(measure, "fit", diverging)
    fitted = fit_shape(BY_NAME["planar"], 1, make_shape("letter", QUICK, 0), QUICK, 0, with_grid=True)
    assert (fitted.log_likelihood, fitted.grid, fitted.failure) == (None, None, "training diverged")


def test_density_of_a_shape_integrates_to_one():
    shape = make_shape("rings", Budget(n_rows=64, n_test=2000, pixels=40), 0)
    left, right, bottom, top = shape.bounds
    assert right - left == pytest.approx(top - bottom)
    cell = (right - left) * (top - bottom) / 40**2
    assert shape.truth.sum() * cell == pytest.approx(1.0, abs=0.03)
    assert isinstance(shape, Shape)
    assert shape.colour_max <= shape.truth.max()


def test_density_png_colours():
    picture = pixels(density_png(np.array([[0.0, 1.0], [5.0, np.nan]]), 1.0))
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == picture[1, 0].tolist() == [0x43, 0x16, 0x00]
    assert picture[1, 1].tolist() == [int(GRID[i : i + 2], 16) for i in (1, 3, 5)]


def test_matrix_svg_draws_runs_and_signs():
    svg = matrix_svg(Matrix("a <mask>", np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]]), True))
    assert 'd="M0 0h2v1h-2zM0 2h1v1h-1zM2 2h1v1h-1z"' in svg
    assert "a &lt;mask&gt;" in svg
    signed = matrix_svg(Matrix("m", np.array([[1.0, -4.0], [0.0, 0.0]])))
    assert re.findall(r'class="(\w+)"', signed) == ["above", "below", "edge"]


def test_cost_lines_increase_with_the_times():
    svg = cost_svg((2, 8), {"log_prob": [1e-6, 1e-5], "sample": [2e-6, 2e-2]})
    below, above = (
        [float(pair.split(",")[1]) for pair in line.split()] for line in re.findall(r'points="([^"]+)"', svg)
    )
    assert below[0] > below[1] > above[1]
    assert "sample 2 µs at D = 2, 20 ms at D = 8" in svg


def test_budget_limits_a_card():
    def build(dim, n_layers, key):
        raise NotImplementedError

    card = Card("a", "A", (), "", build, "", "", "", "", most_dim=8)
    budget = Budget(most_layers=2, dims=(2, 8, 32))
    assert (budget.depths(card), budget.n_layers(card), budget.dims_of(card)) == ((1, 2), 2, (2, 8))
    assert Budget().n_steps == 600
