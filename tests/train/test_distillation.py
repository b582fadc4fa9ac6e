"""Distillation: the loss, the returned student, and refused arguments. Flows are tiny."""

import json
import warnings
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import Chain, Elementwise, Inverse, MaskedAutoregressive, Repeat, SinhArcsinh
from pushforward.diagnostics import fidelity
from pushforward.diagnostics.modes import find_modes
from pushforward.errors import DataError, ShapeError, TrainingDiverged
from pushforward.train.one_step import OneStep, one_step_mismatch

QUICK = {"key": 0, "steps": 60, "batch_size": 64, "n_fidelity": 500, "progress": False, "tolerance": 100.0}
NORMAL = pf.bases.MultivariateNormal(2, loc=np.array([3.0, -1.0]), covariance=np.array([[2.0, 1.2], [1.2, 1.0]]))


def perturbed(flow, size=0.3, seed=0):
    """The flow with noise added to its trained weights."""
    params, frozen = eqx.partition(flow, pf.trainable(flow))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [size * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)]), frozen)


@pytest.mark.parametrize(
    "loss",
    [
        {"forward": 1.0},
        {"forward": 0.0, "annealing": 0.0},
        pytest.param({"forward": 0.0, "annealing": 0.0, "gradient": "total"}, marks=pytest.mark.slow),
        pytest.param({"forward": 0.5}, marks=pytest.mark.slow),
    ],
)
def test_either_divergence_learns_a_normal(loss):
    student, result = pf.distill(
        NORMAL, pf.linear_flow(dim=2, key=0), **QUICK | {"steps": 400, "learning_rate": 0.03} | loss
    )
    assert abs(result.reverse_kl) < 0.02
    assert abs(result.forward_kl) < 0.02
    assert result.efficiency > 0.95
    np.testing.assert_allclose(student.sample(20_000, key=1).mean(0), [3, -1], atol=0.06)


def test_fidelity_of_two_normals_matches_the_closed_form():
    other = pf.bases.Normal((2,), scale=1.3)
    result = fidelity(pf.bases.Normal((2,)), other, key=0, n=40_000)
    ratio = 1.3**2
    assert abs(result.reverse_kl - (ratio - 1 - np.log(ratio))) < 5 * result.reverse_kl_error
    assert abs(result.forward_kl - (1 / ratio - 1 + np.log(ratio))) < 5 * result.forward_kl_error
    # E_q[w]^2 / E_q[w^2] = 1 / int p^2 / q, for each of two coordinates
    expected = (np.sqrt(2 * ratio - 1) / ratio) ** 2
    assert abs(result.efficiency - expected) < 0.02
    assert [mode.ok for mode in result.modes] == [True]
    assert json.loads(json.dumps(result.to_dict()))["n"] == 40_000
    assert "effective samples" in str(result)


def test_fidelity_reports_a_lost_mode():
    centres = np.array([[-4.0, 0.0], [4.0, 0.0]])
    parts = [pf.bases.Normal((2,), loc=centre) for centre in centres]
    both, one = pf.bases.Mixture(parts), parts[0]
    result = fidelity(both, one, key=0, n=4000)
    assert len(result.modes) == 2
    shares = sorted(mode.student for mode in result.modes)
    assert shares == [0.0, 1.0]
    assert sum("the mode at" in doubt for doubt in result.doubts()) == 2
    assert any(doubt.startswith("KL(teacher | student)") for doubt in result.doubts())
    assert not fidelity(both, both, key=0, n=4000).doubts()


@pytest.mark.parametrize("value", [1e17, np.inf, np.nan, 0.21])
def test_fidelity_doubts_a_divergence_with_a_large_error(value):
    result = fidelity(NORMAL, NORMAL, key=0, n=500)
    assert not result.doubts()
    result.reverse_kl, result.reverse_kl_error = value, abs(value)
    assert len(result.doubts()) == 1
    result.reverse_kl, result.reverse_kl_error = 0.12, 0.02
    assert not result.doubts()


@pytest.mark.slow
def test_an_unfaithful_student_raises_a_warning():
    teacher = pf.bases.Mixture([pf.bases.Normal((2,), loc=np.array([shift, 0.0])) for shift in (-4.0, 4.0)])
    with pytest.warns(UserWarning, match=r"not faithful: KL\(student \| teacher\) is .* nats, above 0\.1"):
        pf.distill(teacher, pf.linear_flow(dim=2, key=0), **QUICK | {"tolerance": 0.1})


@pytest.mark.slow
def test_one_layer_iaf_learns_one_layer_maf():
    """MAF and IAF of one layer and one order are one family of maps: x2 given x1, with other conditioners."""
    teacher = perturbed(pf.maf(dim=2, n_layers=1, width=8, order="same", key=0), 0.2)
    _, result = pf.distill(teacher, pf.iaf(dim=2, n_layers=1, width=32, order="same", key=1), **QUICK | {"steps": 800})
    assert result.reverse_kl < 0.01
    assert result.forward_kl < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("context_dim", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_one_step_samples_estimate_the_same_divergence_with_less_variance(context_dim):
    """The teacher has an outer element-wise layer, which the student does not have."""
    dim = 4
    teacher = perturbed(pf.made_mog(dim=dim, width=8, context_dim=context_dim, key=0), 0.1)
    outer = Elementwise(SinhArcsinh(log_bound=0.5), (dim,))
    outer = eqx.tree_at(lambda layer: layer.parameters, outer, jnp.full((2, dim), 0.2))
    teacher = eqx.tree_at(lambda f: f.bijection, teacher, Chain([*teacher.bijection.bijections, outer]))
    student = perturbed(pf.iaf(dim=dim, n_layers=2, width=8, order="same", context_dim=context_dim, key=1), 0.1)
    assert one_step_mismatch(teacher, student) is None
    context = None if context_dim is None else jnp.array([0.3, -0.5])

    def single_sample(key):
        x, log_q = student.sample_and_log_prob_one(key, context)
        return log_q - teacher.log_prob_one(x, context, None)

    keys = jax.random.split(jax.random.key(0), 20_000)
    plain = np.asarray(jax.jit(jax.vmap(single_sample))(keys))
    one_step = np.asarray(jax.jit(jax.vmap(lambda key: OneStep(8).divergence(teacher, student, key, context)[0]))(keys))
    one_step = one_step - dim * 0.5 * np.log(2 * np.pi * np.e)  # the estimate omits the entropy of the base
    error = np.hypot(plain.std(), one_step.std()) / np.sqrt(len(keys))
    assert abs(plain.mean() - one_step.mean()) < 5 * error
    assert one_step.std() < plain.std()


def test_a_penalty_shifts_the_students_samples():
    """The penalty takes a batch in the data's units; without it the mean would stay at 3."""
    student = pf.linear_flow(dim=2, key=0)
    options = QUICK | {"steps": 300, "learning_rate": 0.03, "forward": 0.0, "annealing": 0.0}
    penalised, _ = pf.distill(NORMAL, student, penalty=lambda x: 100 * (jnp.mean(x[:, 0]) - 4) ** 2, **options)
    assert abs(np.mean(penalised.sample(5000, key=1)[:, 0]) - 4) < 0.2
    with pytest.raises(ShapeError, match=r"penalty: expected one number of a batch \(64, 2\), got shape \(64,\)"):
        pf.distill(NORMAL, student, penalty=lambda x: x[:, 0], **options)
    with pytest.raises(ValueError, match="penalty: expected None with forward=1"):
        pf.distill(NORMAL, student, penalty=jnp.sum, **options | {"forward": 1.0})


@pytest.mark.slow
def test_one_step_distillation_trains():
    teacher = perturbed(pf.made_mog(dim=3, width=8, key=0), 0.1)
    student = pf.iaf(dim=3, n_layers=1, width=16, order="same", key=1)
    _, result = pf.distill(teacher, student, forward=0.0, annealing=0.0, n_next=4, **QUICK | {"steps": 300})
    start = fidelity(teacher, student, key=0, n=2000)
    assert result.reverse_kl < 0.5 * start.reverse_kl


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (pf.maf(dim=2, n_layers=2, width=4, key=0), pf.iaf(dim=2, width=4, order="same", key=0), "single autoregress"),
        (pf.maf(dim=2, n_layers=1, width=4, key=0), pf.nsf(dim=2, n_layers=2, width=4, key=0), "inverse affine"),
        (pf.maf(dim=2, n_layers=1, width=4, key=0), pf.iaf(dim=2, n_layers=2, width=4, key=0), "one order"),
        (NORMAL, pf.iaf(dim=2, width=4, key=0), "teacher is no flow"),
    ],
)  # fmt: skip
def test_one_step_samples_are_refused_where_they_do_not_fit(teacher, student, message):
    with pytest.raises(ValueError, match=f"n_next: expected 1, got 3: .*{message}"):
        pf.distill(teacher, student, n_next=3, **QUICK)


@pytest.mark.slow
def test_distillation_of_a_conditional_flow():
    teacher = perturbed(pf.maf(dim=2, n_layers=2, width=8, context_dim=1, key=0), 0.2)
    student = pf.real_nvp(dim=2, n_layers=2, width=16, context_dim=1, key=1)
    context = np.random.default_rng(0).normal(50.0, 10.0, (200, 1))
    teacher = eqx.tree_at(lambda f: f.context_scaling, teacher, teacher.context_scaling.initialised(context))
    before = fidelity(teacher, student, key=0, n=2000, context=context).forward_kl
    student, result = pf.distill(teacher, student, context=context, **QUICK | {"steps": 300})
    assert result.forward_kl < 0.5 * before
    assert result.modes == ()
    np.testing.assert_allclose(student.context_scaling.mean, context.mean(0), rtol=1e-2)


@pytest.mark.slow
def test_distillation_does_not_depend_on_units():
    """The teacher is far from the origin, in single precision; training uses its standardised units."""
    x = np.random.default_rng(0).normal(size=(500, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    fits = []
    for scale, offset in ((1.0, 0.0), (1e-9, 0.0), (1e6, 1e12)):
        teacher, _ = pf.fit(pf.linear_flow(dim=2, key=0), scale * x, key=0, max_epochs=3, progress=False)
        outer = teacher.bijection.bijections[-1]
        moved = outer.filled(np.asarray(outer.mean) + offset, np.asarray(outer.scale))
        teacher = eqx.tree_at(lambda f: f.bijection.bijections[-1], teacher, moved)
        student = pf.nice(dim=2, n_layers=2, width=8, key=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            student, _ = pf.distill(teacher, student, **QUICK)
        layer = student.bijection.bijections[-1]
        fits.append(((np.asarray(layer.mean) - offset) / scale, np.asarray(layer.scale) / scale, student.bijection))
    for mean, scale, bijection in fits[1:]:
        np.testing.assert_allclose(mean, fits[0][0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(scale, fits[0][1], rtol=1e-3)
        leaves, first = (jax.tree.leaves(b.bijections[0]) for b in (bijection, fits[0][2]))
        for leaf, other in zip(leaves, first, strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_best_block_is_returned_and_runs_are_reproducible():
    first, result = pf.distill(NORMAL, pf.nice(dim=2, n_layers=2, width=8, key=0), **QUICK)
    again, _ = pf.distill(NORMAL, pf.nice(dim=2, n_layers=2, width=8, key=0), **QUICK)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    history = result.history
    assert len(history.forward_kl) == len(history.reverse_kl) == len(history.seconds) == 50
    assert repr(history).startswith("DistillationHistory(blocks=50, best_block=")
    assert history.best_block == int(np.argmin(history.forward_kl))
    further, result = pf.distill(NORMAL, first, **QUICK)
    assert result.history.forward_kl[0] < history.forward_kl[0]
    np.testing.assert_array_equal(further.bijection.bijections[-1].mean, first.bijection.bijections[-1].mean)


@pytest.mark.slow
def test_the_teacher_is_unchanged():
    teacher = pf.maf(dim=2, n_layers=2, width=8, key=0)
    before = [np.array(leaf) for leaf in jax.tree.leaves(teacher)]
    pf.distill(teacher, pf.nice(dim=2, n_layers=2, width=8, key=0), **QUICK)
    for a, b in zip(before, jax.tree.leaves(teacher), strict=True):
        np.testing.assert_array_equal(a, b)


BAD = {
    "shape": (lambda: (NORMAL, pf.nice(dim=3, key=0), {}), ShapeError, "student: expected shape"),
    "context shape": (lambda: (NORMAL, pf.nice(dim=2, context_dim=1, key=0), {}), ShapeError, "context_shape"),
    "context": (lambda: (NORMAL, pf.nice(dim=2, key=0), {"context": np.ones((3, 1))}), DataError, "expected none"),
    "share": (lambda: (NORMAL, pf.nice(dim=2, key=0), {"forward": 1.5}), ValueError, "forward: expected a share"),
    "gradient": (lambda: (NORMAL, pf.nice(dim=2, key=0), {"gradient": "both"}), ValueError, "'path' or 'total'"),
    "steps": (lambda: (NORMAL, pf.nice(dim=2, key=0), {"steps": 0}), ValueError, "steps: expected a whole number"),
    "few": (lambda: (NORMAL, pf.nice(dim=2, key=0), {"n_fidelity": 5}), ValueError, "n_fidelity: .* at least 100"),
    "no effect": (
        lambda: (NORMAL, pf.nice(dim=2, key=0), {"n_next": 2, "forward": 1.0}),
        ValueError,
        "n_next: .*forward=1",
    ),
    "no flow": (lambda: (NORMAL, pf.bases.Normal((2,)), {}), TypeError, "student: expected a Flow"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_raise_a_clear_error(name):
    build, kind, message = BAD[name]
    teacher, student, options = build()
    with pytest.raises(kind, match=message):
        pf.distill(teacher, student, **QUICK | options)


def test_repeated_failures_raise_an_error():
    with pytest.raises(TrainingDiverged, match="steps in a row"):
        pf.distill(NORMAL, pf.linear_flow(dim=2, key=0), **QUICK | {"learning_rate": 1e30, "steps": 2000, "clip": None})


def test_find_modes_finds_separated_modes_only():
    random = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(8) / 8
    centres = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    x = centres[random.integers(0, 8, 3000)] + 0.5 * random.normal(size=(3000, 2))
    log_p = np.logaddexp.reduce(-2 * ((x[:, None] - centres) ** 2).sum(-1), 1)
    modes = find_modes(x, log_p)
    assert len(modes.locations) == 8
    np.testing.assert_allclose(modes.shares, 1 / 8, atol=0.03)  # 5 standard errors
    np.testing.assert_allclose(modes.shares_of(centres[:1]).max(), 1)
    ring = np.stack([np.cos(angles := random.uniform(0, 7, 2000)), np.sin(angles)], 1)
    assert len(find_modes(ring + 0.05 * random.normal(size=ring.shape), np.zeros(2000)).locations) == 1
    assert len(find_modes(random.normal(size=(30, 1)), np.zeros(30)).locations) == 1


@pytest.mark.slow
def test_divergence_plot_and_report(tmp_path):
    from pushforward.reporting.plots import divergences
    from pushforward.reporting.report import write_distillation_report

    result = fidelity(NORMAL, pf.bases.Normal((2,), loc=np.array([3.0, -1.0])), key=0, n=500)
    assert len(divergences(result).axes) == 1
    result.history = SimpleNamespace(reverse_kl=[1.0, -0.1], forward_kl=[np.nan, np.nan], best_block=1)
    figure = divergences(result, title="t")
    assert len(figure.axes) == 2
    path = write_distillation_report(
        tmp_path / "r.html", title="<t>", fidelity=result, columns=["a", "b"], doubts=result.doubts(), facts={"seed": 0}
    )
    text = path.read_text()
    assert "&lt;t&gt;" in text
    assert "not faithful" in text
    assert "samples of the student" in text
    assert "https:" not in text


@pytest.mark.slow
def test_parallel_wavenet_learns_a_wavenet():
    teacher = perturbed(pf.wavenet(dim=12, width=8, depth=2, n_components=2, key=0), 0.1)
    student = pf.parallel_wavenet(dim=12, n_layers=1, width=8, depth=2, key=1)
    assert isinstance(student.bijection.bijections[0], Repeat)
    assert isinstance(student.bijection.bijections[0].layers, Inverse)
    assert isinstance(student.bijection.bijections[0].layers.bijection, MaskedAutoregressive)
    before = fidelity(teacher, student, key=0, n=2000).reverse_kl
    _, result = pf.distill(
        teacher, student, forward=0.0, annealing=0.0, n_next=4, **QUICK | {"steps": 200, "learning_rate": 1e-2}
    )
    assert result.reverse_kl < 0.5 * before


@pytest.mark.slow
def test_trainable_has_the_structure_of_the_whole_student():
    """Also where the outer layers are common with the teacher."""
    teacher = perturbed(pf.maf(dim=2, n_layers=1, width=4, key=0))
    student = pf.iaf(dim=2, n_layers=1, width=4, key=1)
    biases = jax.tree.map(lambda trained, leaf: trained and np.ndim(leaf) == 2, pf.trainable(student), student)
    back, _ = pf.distill(teacher, student, trainable=biases, **QUICK | {"steps": 2})
    pairs = zip(jax.tree.leaves(back.bijection), jax.tree.leaves(student.bijection), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs if np.ndim(a) == 3)
