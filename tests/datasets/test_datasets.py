"""The embedded table and the toy shapes."""

import math

import numpy as np
import pytest

from pushforward import datasets
from pushforward.datasets import power
from pushforward.errors import DataError, ShapeError

BOX = {
    "moons": 4.0, "rings": 4.0, "spirals": 4.5, "checkerboard": 4.5, "pinwheel": 5.5, "eight_gaussians": 5.0,
    "letter": 3.5,
}  # fmt: skip


def test_household_power_is_deterministic_and_in_physical_units() -> None:
    data, again = datasets.household_power(), datasets.household_power()
    for part, rows in (("train", 40_000), ("validation", 5_000), ("test", 5_000)):
        values = getattr(data, part)
        assert values.shape == (rows, 6)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, getattr(again, part))
    low, high = data.train.min(axis=0), data.train.max(axis=0)
    assert (low >= [0.07, 223, 0, 0, 0, 0]).all()
    assert (high <= [11.2, 255, 90, 82, 33, 1439]).all()
    assert len(data.columns) == len(data.units) == 6
    assert "CC BY 4.0" in data.attribution


def test_household_power_noise_fills_the_meters_steps() -> None:
    values = datasets.household_power().train
    for column, step in ((0, 0.001), (1, 0.01), (2, 1.0), (3, 1.0), (4, 1.0)):
        fraction = np.mod(values[:, column] / step, 1.0)
        # Kolmogorov-Smirnov distance from uniform; P(D > 0.0135) < 1e-6 at 40,000 rows
        distance = np.abs(np.sort(fraction) - (np.arange(40_000) + 0.5) / 40_000).max()
        assert distance < 0.0135, column
    np.testing.assert_array_equal(values[:, 5], np.rint(values[:, 5]))


def test_household_power_gaussian_is_near_that_of_the_paper() -> None:
    data = datasets.household_power()
    centre, spread = data.train.mean(axis=0), data.train.std(axis=0)
    train, test = (data.train - centre) / spread, (data.test - centre) / spread
    covariance = np.cov(train, rowvar=False, ddof=0)
    energy = np.einsum("ni,ij,nj->n", test, np.linalg.inv(covariance), test)
    log_probs = -0.5 * (energy + np.linalg.slogdet(2 * np.pi * covariance)[1])
    # all rows give -7.742; five standard errors of 5,000 rows, which is about 0.4 nats
    assert abs(log_probs.mean() + 7.742) < 5 * log_probs.std() / np.sqrt(5_000)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"])
def test_damaged_embedded_file_is_an_error(content: bytes, tmp_path, monkeypatch) -> None:
    damaged = tmp_path / "power.npz"
    damaged.write_bytes(content)
    monkeypatch.setattr(power, "_FILE", damaged)
    with pytest.raises(DataError, match="reinstall pushforward"):
        datasets.household_power()


def test_embedded_file_of_other_size_is_refused_before_reading(tmp_path, monkeypatch) -> None:
    other = tmp_path / "power.npz"
    np.savez_compressed(other, **{name: np.zeros(60_000, np.int64) for name in power._STORED})
    monkeypatch.setattr(power, "_FILE", other)
    with pytest.raises(DataError, match="not our six columns"):
        datasets.household_power()
    np.savez_compressed(other, **{name: np.zeros(40_000, np.uint8) for name in power._STORED})
    with pytest.raises(DataError, match=r"shape \(40000,\)"):
        datasets.household_power()


@pytest.mark.parametrize("name", datasets.TOY_NAMES)
def test_toy_is_deterministic_with_its_shape(name: str) -> None:
    points = datasets.toy(name, 500, seed=3)
    assert points.shape == (500, 2)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, datasets.toy(name, 500, seed=3))
    assert not np.array_equal(points, datasets.toy(name, 500, seed=4))
    assert datasets.toy(name, 0).shape == (0, 2)


@pytest.mark.parametrize("name", datasets.TOY_NAMES)
def test_toy_density_integrates_to_one_and_matches_the_sampler(name: str) -> None:
    """The grid's mass is 1, and the mean log-density of samples equals the grid's integral of p log p."""
    half = BOX.get(name, 11.0)
    n_cells = (
        160 if name in ("moons", "spirals", "letter") else 900
    )  # these sum over hundreds of curve points, and are smooth
    step = 2 * half / n_cells
    centres = (np.arange(n_cells) + 0.5) * step - half
    grid = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = datasets.toy_log_density(name, grid)
    density = np.exp(log_density) * step**2
    assert abs(density.sum() - 1) < 0.005
    minus_entropy = (density * np.where(density > 0, log_density, 0.0)).sum()
    scores = datasets.toy_log_density(name, datasets.toy(name, 4_000, seed=5))
    error = scores.std() / np.sqrt(len(scores))
    assert abs(scores.mean() - minus_entropy) < 5 * error + 0.03


def test_density_of_the_letter_matches_its_stem() -> None:
    """Below the lower bar there is only the stem, whose density is a product of a normal and two error functions."""
    x = np.array([[-0.9, -1.0], [-1.1, -1.9], [-0.5, -2.1], [-1.4, -1.2]])
    noise, length = 0.12, 4.0 + 2 * 1.1 + np.pi
    ends = [np.vectorize(math.erf)((edge - x[:, 1]) / (noise * np.sqrt(2))) / 2 for edge in (-2.0, 2.0)]
    across = np.exp(-0.5 * ((x[:, 0] + 0.9) / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
    expected = np.log(across * (ends[1] - ends[0]) / length)
    np.testing.assert_allclose(datasets.toy_log_density("letter", x), expected, atol=1e-9)


def test_invalid_toy_arguments_are_errors() -> None:
    with pytest.raises(DataError, match="letter, got 'moon'"):
        datasets.toy("moon", 3)
    with pytest.raises(DataError, match="at least 0, got -1"):
        datasets.toy("moons", -1)
    with pytest.raises(ShapeError, match=r"\(n, 2\), got \(2,\)"):
        datasets.toy_log_density("moons", np.zeros(2))
