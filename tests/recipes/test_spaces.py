"""Flows on products of circles, lines, half-lines and intervals; the simplex and the sphere."""

import re
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery import randomised
from compiling import quickly_compiled
from sampling import quick_few
from scipy import special, stats

import pushforward as pf
from pushforward.bijections import (
    AbstractScalarBijection,
    Elementwise,
    PhaseShift,
    StickBreaking,
    from_sphere,
    to_sphere,
)
from pushforward.core.circles import circular_coordinates
from pushforward.diagnostics.circles import restrict_to_one_period

SPACE = ["line", "circle", "positive", (0.0, 10.0), "circle"]
SMALL = {"n_layers": 2, "width": 8, "depth": 1, "n_bins": 4, "key": 0}


def rows(n):
    """Rows on SPACE whose coordinates depend on the first angle."""
    random = np.random.default_rng(0)
    angle = random.vonmises(3.0, 4.0, n)
    box = 10 / (1 + np.exp(-np.sin(angle) - random.normal(size=n)))
    other = np.mod(angle + 0.3 * random.normal(size=n) + np.pi, 2 * np.pi) - np.pi
    return np.stack(
        [50 + 5 * np.cos(angle) + random.normal(size=n), angle, np.exp(random.normal(size=n)), box, other], 1
    )


@pytest.mark.parametrize("kind", quick_few(["coupling", "autoregressive"]))
def test_a_flow_on_a_product(kind, tmp_path):
    """After a fit samples lie in the space, scores agree and are continuous across the cut, and a file restores all."""
    x = rows(400)
    with quickly_compiled():
        flow, history = pf.fit(pf.space_flow(SPACE, kind=kind, **SMALL), x, key=0, max_epochs=5, progress=False)
        assert np.diff(history.validation)[0] > 0
        np.testing.assert_array_equal(circular_coordinates(flow.bijection), [False, True, False, False, True])
        inner = flow.bijection.bijections[1].inner
        assert bool(inner.is_filled)  # of the line, and of the logarithm and the logit
        assert inner.shape == (3,)
        samples, reported = flow.sample_and_log_prob(200, key=1)
        assert (np.abs(samples[:, [1, 4]]) <= np.float32(np.pi)).all()
        assert ((samples[:, 2] > 0) & (samples[:, 3] > 0) & (samples[:, 3] < 10)).all()
        np.testing.assert_allclose(flow.log_prob(samples), reported, atol=1e-3)
        with jax.enable_x64(True):
            wide, ends = pf.cast(flow, np.float64), np.repeat(x[:50, None], 2, 1)
            ends[:, 0, 1], ends[:, 1, 1] = -np.pi, np.pi
            left, right = np.asarray(wide.log_prob(ends)).T
            assert np.abs(left - right).max() < 1e-6
        x[:, 3] -= 10
        assert np.isneginf(flow.log_prob(x)).all()
        pf.save(tmp_path / "space.safetensors", flow)
        np.testing.assert_array_equal(pf.load(tmp_path / "space.safetensors").log_prob(samples), flow.log_prob(samples))


def von_mises(x):
    """An angle around the cut, and a number that depends on it."""
    return 3.0 * jnp.cos(x[0] - 3.0) - 0.5 * (x[1] - 8.0 - 2.0 * jnp.cos(x[0])) ** 2


@pytest.mark.slow
def test_fit_target_and_distill():
    """Within 0.03 nats of the normalising constant; the pilot leaves the unit of the angle; a student follows."""
    start = pf.space_flow(["circle", "line"], **SMALL | {"n_layers": 4, "width": 16})
    flow, history = pf.fit_target(start, von_mises, key=0, steps=2500, pilot=500, progress=False)
    outer = flow.bijection.bijections[-1]
    assert (outer.mean[0], outer.scale[0]) == (0.0, 1.0)
    assert abs(outer.mean[1] - 7) < 3
    log_z = np.log(2 * np.pi * special.i0(3.0)) + 0.5 * np.log(2 * np.pi)
    assert abs(history.importance.elbo - log_z) < 0.03
    student, fidelity = pf.distill(
        flow, pf.space_flow(["circle", "line"], kind="autoregressive", **SMALL | {"width": 16}), key=0, steps=1500,
        progress=False,
    )  # fmt: skip
    assert fidelity.reverse_kl < 0.05
    assert np.abs(student.sample(200, key=0)[:, 0]).max() <= np.float32(np.pi)


@pytest.mark.slow
def test_fit_reaches_the_entropy_of_von_mises_angles():
    """Both angles cross the cut; within 0.05 nats of the truth."""
    random = np.random.default_rng(0)
    first = random.vonmises(3.0, 4.0, 5000)
    x = np.stack([first, np.mod(first + random.vonmises(0.5, 4.0, 5000) + np.pi, 2 * np.pi) - np.pi], 1)
    truth = -2 * stats.vonmises(4.0).entropy()
    for kind in ("coupling", "autoregressive"):
        _, history = pf.fit(
            pf.space_flow(["circle"] * 2, kind=kind, **SMALL | {"width": 32}), x, key=0, validation=0.4, progress=False
        )
        assert abs(history.best_validation - truth) < 0.05 + 4 * 1.2 / np.sqrt(2000)


class BentCircle(AbstractScalarBijection):
    """A map of [-pi, pi] to itself whose slopes differ at the two ends of the cut: x = z + (z^2 - pi^2) / (4 pi)."""

    support: ClassVar[tuple[float, float]] = (-np.pi, np.pi)
    is_circular: ClassVar[bool] = True

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + (z**2 - np.pi**2) / (4 * np.pi), jnp.log1p(z / (2 * np.pi))

    def inverse_and_log_det(self, x, context=None, *, key=None):
        z = 2 * np.pi * (jnp.sqrt(1.25 + x / np.pi) - 1)
        return z, -jnp.log1p(z / (2 * np.pi))


def test_check_tests_angles_over_one_turn():
    """A flow of angles is healthy, although its density is periodic; a jump at the cut is found."""
    with quickly_compiled():
        flow = pf.space_flow(["circle"], **SMALL)
        trained, rest = eqx.partition(flow, pf.trainable(flow))
        certificate = pf.check(eqx.combine(randomised(trained, 0.3), rest), key=0)
        assert certificate.ok, str(certificate)
        assert {"circular columns", "integral of the density"} <= {r.name for r in certificate.rows if r.ok}
        bent = pf.Flow(pf.bases.Uniform((1,), -np.pi, np.pi), Elementwise(BentCircle(), (1,)))
        row = restrict_to_one_period(bent)[1].row(np.zeros((4, 1)))
    assert not row.ok
    assert "across the cut" in row.message


def test_phase_shifts_rotate():
    """Half a turn and back, and the derivative of the phase across the cut."""
    shift = PhaseShift(2.0)
    x = shift.forward(jnp.array(2.0))
    np.testing.assert_allclose(x, 4 - 2 * np.pi, rtol=1e-6)
    np.testing.assert_allclose(shift.inverse(x), 2.0, rtol=1e-6)
    slope = jax.grad(lambda phase: eqx.tree_at(lambda s: s.phase, shift, phase).forward(jnp.array(2.0)))(shift.phase)
    assert slope == 1


def test_stick_breaking_gives_dirichlet_densities():
    """Sticks broken by beta variates are Dirichlet: SciPy's density, at points down to shares of 1e-6."""
    alpha = np.array([0.7, 2.0, 3.0, 1.5])
    x = np.random.default_rng(0).dirichlet(alpha, 50)
    x[0] = [1e-6, 0.5, 1e-6, 0.5 - 2e-6]
    rest = np.cumsum(alpha[::-1])[::-1][1:]
    with jax.enable_x64(True):
        z, log_det = jax.vmap(StickBreaking(3).inverse_and_log_det)(jnp.asarray(x[:, :3]))
        shares = special.expit(np.asarray(z) - np.log([3, 2, 1]))  # of what is left
    log_base = stats.beta(alpha[:3], rest).logpdf(shares) + np.log(shares) + np.log1p(-shares)
    expected = stats.dirichlet(alpha).logpdf(x.T)
    np.testing.assert_allclose(log_base.sum(1) + np.asarray(log_det), expected, rtol=1e-8)


def test_height_and_angle_keep_the_area_of_the_sphere():
    x = jnp.array([[-0.9, 3.0], [0.3, -2.0], [0.999, 0.1]])
    vectors = to_sphere(x)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(from_sphere(2.0 * vectors), x, rtol=1e-5)
    by_height, by_angle = np.moveaxis(np.asarray(jax.vmap(jax.jacfwd(to_sphere))(x)), -1, 0)
    np.testing.assert_allclose(np.linalg.norm(np.cross(by_height, by_angle), axis=1), 1.0, rtol=1e-4)


@pytest.mark.slow
def test_the_page_runs():
    """The code of docs/spaces.md, block after block."""
    page = Path(__file__).resolve().parents[2] / "docs" / "spaces.md"
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102
