"""A student and its teacher: what the loss is, what is returned, what is refused. Flows are tiny."""

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
from pushforward.train.one_step import OneStep, one_step_fault

QUICK = {"key": 0, "steps": 60, "batch_size": 64, "n_fidelity": 500, "progress": False, "tolerance": 100.0}
NORMAL = pf.bases.MultivariateNormal(2, loc=np.array([3.0, -1.0]), covariance=np.array([[2.0, 1.2], [1.2, 1.0]]))


def shaken(flow, size=0.3, seed=0):
    """A flow whose trained weights are not those of the identity."""
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    leaves, tree = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [size * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)]), rest)


@pytest.mark.parametrize(
    "loss",
    [
        {"forward": 1.0},
        {"forward": 0.0, "annealing": 0.0},
        pytest.param({"forward": 0.0, "annealing": 0.0, "gradient": "total"}, marks=pytest.mark.slow),
        pytest.param({"forward": 0.5}, marks=pytest.mark.slow),
    ],
)
def test_a_normal_is_learned_by_either_divergence(loss):
    student, found = pf.distill(
        NORMAL, pf.linear_flow(dim=2, key=0), **QUICK | {"steps": 400, "learning_rate": 0.03} | loss
    )
    assert abs(found.reverse_kl) < 0.02
    assert abs(found.forward_kl) < 0.02
    assert found.efficiency > 0.95
    np.testing.assert_allclose(student.sample(20_000, key=1).mean(0), [3, -1], atol=0.06)


def test_fidelity_of_two_normals_is_that_of_the_formula():
    other = pf.bases.Normal((2,), scale=1.3)
    found = fidelity(pf.bases.Normal((2,)), other, key=0, n=40_000)
    ratio = 1.3**2
    assert abs(found.reverse_kl - (ratio - 1 - np.log(ratio))) < 5 * found.reverse_kl_error
    assert abs(found.forward_kl - (1 / ratio - 1 + np.log(ratio))) < 5 * found.forward_kl_error
    # E_q[w]^2 / E_q[w^2] = 1 / int p^2 / q, for each of two coordinates
    expected = (np.sqrt(2 * ratio - 1) / ratio) ** 2
    assert abs(found.efficiency - expected) < 0.02
    assert [mode.ok for mode in found.modes] == [True]
    assert json.loads(json.dumps(found.to_dict()))["n"] == 40_000
    assert "effective samples" in str(found)


def test_a_lost_mode_is_named():
    places = np.array([[-4.0, 0.0], [4.0, 0.0]])
    parts = [pf.bases.Normal((2,), loc=place) for place in places]
    both, one = pf.bases.Mixture(parts), parts[0]
    found = fidelity(both, one, key=0, n=4000)
    assert len(found.modes) == 2
    shares = sorted(mode.student for mode in found.modes)
    assert shares == [0.0, 1.0]
    assert sum("the mode at" in doubt for doubt in found.doubts()) == 2
    assert any(doubt.startswith("KL(teacher | student)") for doubt in found.doubts())
    assert not fidelity(both, both, key=0, n=4000).doubts()


@pytest.mark.parametrize("value", [1e17, np.inf, np.nan, 0.21])
def test_a_divergence_that_single_samples_decide_is_doubted(value):
    found = fidelity(NORMAL, NORMAL, key=0, n=500)
    assert not found.doubts()
    found.reverse_kl, found.reverse_kl_error = value, abs(value)
    assert len(found.doubts()) == 1
    found.reverse_kl, found.reverse_kl_error = 0.12, 0.02
    assert not found.doubts()


@pytest.mark.slow
def test_an_unfaithful_student_is_warned_about():
    teacher = pf.bases.Mixture([pf.bases.Normal((2,), loc=np.array([shift, 0.0])) for shift in (-4.0, 4.0)])
    with pytest.warns(UserWarning, match=r"not faithful: KL\(student \| teacher\) is .* nats, above 0\.1"):
        pf.distill(teacher, pf.linear_flow(dim=2, key=0), **QUICK | {"tolerance": 0.1})


@pytest.mark.slow
def test_an_affine_layer_becomes_its_own_inverse_flow():
    """MAF and IAF of one layer and one order are one family of maps: x2 given x1, with other conditioners."""
    teacher = shaken(pf.maf(dim=2, n_layers=1, width=8, order="same", key=0), 0.2)
    _, found = pf.distill(teacher, pf.iaf(dim=2, n_layers=1, width=32, order="same", key=1), **QUICK | {"steps": 800})
    assert found.reverse_kl < 0.01
    assert found.forward_kl < 0.01


@pytest.mark.parametrize("context_dim", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_one_step_draws_estimate_the_same_divergence(context_dim):
    """Of a teacher with an element-wise layer outside, which the student does not have."""
    dim = 4
    teacher = shaken(pf.made_mog(dim=dim, width=8, context_dim=context_dim, key=0), 0.1)
    outside = Elementwise(SinhArcsinh(log_bound=0.5), (dim,))
    outside = eqx.tree_at(lambda layer: layer.parameters, outside, jnp.full((2, dim), 0.2))
    teacher = eqx.tree_at(lambda f: f.bijection, teacher, Chain([*teacher.bijection.bijections, outside]))
    student = shaken(pf.iaf(dim=dim, n_layers=2, width=8, order="same", context_dim=context_dim, key=1), 0.1)
    assert one_step_fault(teacher, student) is None
    context = None if context_dim is None else jnp.array([0.3, -0.5])

    def whole(key):
        x, log_q = student.sample_and_log_prob_one(key, context)
        return log_q - teacher.log_prob_one(x, context, None)

    keys = jax.random.split(jax.random.key(0), 20_000)
    plain = np.asarray(jax.jit(jax.vmap(whole))(keys))
    calm = np.asarray(jax.jit(jax.vmap(lambda key: OneStep(8).divergence(teacher, student, key, context)[0]))(keys))
    calm = calm - dim * 0.5 * np.log(2 * np.pi * np.e)  # the entropy of the base is left out
    error = np.hypot(plain.std(), calm.std()) / np.sqrt(len(keys))
    assert abs(plain.mean() - calm.mean()) < 5 * error
    assert calm.std() < plain.std()


def test_a_penalty_draws_the_students_samples():
    """Of a batch, in the data's units; the divergence alone would keep the mean at 3."""
    student = pf.linear_flow(dim=2, key=0)
    options = QUICK | {"steps": 300, "learning_rate": 0.03, "forward": 0.0, "annealing": 0.0}
    drawn, _ = pf.distill(NORMAL, student, penalty=lambda x: 100 * (jnp.mean(x[:, 0]) - 4) ** 2, **options)
    assert abs(np.mean(drawn.sample(5000, key=1)[:, 0]) - 4) < 0.2
    with pytest.raises(ShapeError, match=r"penalty: expected one number of a batch \(64, 2\), got shape \(64,\)"):
        pf.distill(NORMAL, student, penalty=lambda x: x[:, 0], **options)
    with pytest.raises(ValueError, match="penalty: expected None with forward=1"):
        pf.distill(NORMAL, student, penalty=jnp.sum, **options | {"forward": 1.0})


@pytest.mark.slow
def test_one_step_distillation_trains():
    teacher = shaken(pf.made_mog(dim=3, width=8, key=0), 0.1)
    student = pf.iaf(dim=3, n_layers=1, width=16, order="same", key=1)
    _, found = pf.distill(teacher, student, forward=0.0, annealing=0.0, n_next=4, **QUICK | {"steps": 300})
    start = fidelity(teacher, student, key=0, n=2000)
    assert found.reverse_kl < 0.5 * start.reverse_kl


@pytest.mark.parametrize(
    ("teacher", "student", "words"),
    [
        (pf.maf(dim=2, n_layers=2, width=4, key=0), pf.iaf(dim=2, width=4, order="same", key=0), "single autoregress"),
        (pf.maf(dim=2, n_layers=1, width=4, key=0), pf.nsf(dim=2, n_layers=2, width=4, key=0), "inverse affine"),
        (pf.maf(dim=2, n_layers=1, width=4, key=0), pf.iaf(dim=2, n_layers=2, width=4, key=0), "one order"),
        (NORMAL, pf.iaf(dim=2, width=4, key=0), "teacher is no flow"),
    ],
)  # fmt: skip
def test_one_step_draws_are_refused_where_they_do_not_fit(teacher, student, words):
    with pytest.raises(ValueError, match=f"n_next: expected 1, got 3: .*{words}"):
        pf.distill(teacher, student, n_next=3, **QUICK)


@pytest.mark.slow
def test_a_conditional_student():
    teacher = shaken(pf.maf(dim=2, n_layers=2, width=8, context_dim=1, key=0), 0.2)
    student = pf.real_nvp(dim=2, n_layers=2, width=16, context_dim=1, key=1)
    context = np.random.default_rng(0).normal(50.0, 10.0, (200, 1))
    teacher = eqx.tree_at(lambda f: f.context_scaling, teacher, teacher.context_scaling.initialised(context))
    before = fidelity(teacher, student, key=0, n=2000, context=context).forward_kl
    student, found = pf.distill(teacher, student, context=context, **QUICK | {"steps": 300})
    assert found.forward_kl < 0.5 * before
    assert found.modes == ()
    np.testing.assert_allclose(student.context_scaling.mean, context.mean(0), rtol=1e-2)


@pytest.mark.slow
def test_units_do_not_matter():
    """A teacher far from the origin, in single precision: its standardised units are those of training."""
    x = np.random.default_rng(0).normal(size=(500, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    found = []
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
        found.append(((np.asarray(layer.mean) - offset) / scale, np.asarray(layer.scale) / scale, student.bijection))
    for mean, scale, bijection in found[1:]:
        np.testing.assert_allclose(mean, found[0][0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(scale, found[0][1], rtol=1e-3)
        leaves, first = (jax.tree.leaves(b.bijections[0]) for b in (bijection, found[0][2]))
        for leaf, other in zip(leaves, first, strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-3, atol=1e-3)


def test_the_best_block_is_returned_and_two_runs_are_equal():
    first, found = pf.distill(NORMAL, pf.nice(dim=2, n_layers=2, width=8, key=0), **QUICK)
    again, _ = pf.distill(NORMAL, pf.nice(dim=2, n_layers=2, width=8, key=0), **QUICK)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    history = found.history
    assert len(history.forward_kl) == len(history.reverse_kl) == len(history.seconds) == 50
    assert history.best_block == int(np.argmin(history.forward_kl))
    further, found = pf.distill(NORMAL, first, **QUICK)
    assert found.history.forward_kl[0] < history.forward_kl[0]
    np.testing.assert_array_equal(further.bijection.bijections[-1].mean, first.bijection.bijections[-1].mean)


@pytest.mark.slow
def test_the_teacher_is_left_as_it_was():
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
def test_bad_arguments_get_a_sentence(name):
    build, kind, words = BAD[name]
    teacher, student, options = build()
    with pytest.raises(kind, match=words):
        pf.distill(teacher, student, **QUICK | options)


def test_divergence_is_told():
    with pytest.raises(TrainingDiverged, match="steps in a row"):
        pf.distill(NORMAL, pf.linear_flow(dim=2, key=0), **QUICK | {"learning_rate": 1e30, "steps": 2000, "clip": None})


def test_modes_are_those_that_stand_out():
    random = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(8) / 8
    places = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    x = places[random.integers(0, 8, 3000)] + 0.5 * random.normal(size=(3000, 2))
    log_p = np.logaddexp.reduce(-2 * ((x[:, None] - places) ** 2).sum(-1), 1)
    found = find_modes(x, log_p)
    assert len(found.places) == 8
    np.testing.assert_allclose(found.shares, 1 / 8, atol=0.03)  # 5 standard errors
    np.testing.assert_allclose(found.shares_of(places[:1]).max(), 1)
    ring = np.stack([np.cos(angles := random.uniform(0, 7, 2000)), np.sin(angles)], 1)
    assert len(find_modes(ring + 0.05 * random.normal(size=ring.shape), np.zeros(2000)).places) == 1
    assert len(find_modes(random.normal(size=(30, 1)), np.zeros(30)).places) == 1


def test_the_picture_and_the_report(tmp_path):
    from pushforward.reporting.plots import divergences
    from pushforward.reporting.report import write_distillation_report

    found = fidelity(NORMAL, pf.bases.Normal((2,), loc=np.array([3.0, -1.0])), key=0, n=500)
    assert len(divergences(found).axes) == 1
    found.history = SimpleNamespace(reverse_kl=[1.0, -0.1], forward_kl=[np.nan, np.nan], best_block=1)
    figure = divergences(found, title="t")
    assert len(figure.axes) == 2
    path = write_distillation_report(
        tmp_path / "r.html", title="<t>", fidelity=found, columns=["a", "b"], doubts=found.doubts(), facts={"seed": 0}
    )
    text = path.read_text()
    assert "&lt;t&gt;" in text
    assert "not faithful" in text
    assert "samples of the student" in text
    assert "https:" not in text


@pytest.mark.slow
def test_the_parallel_wavenet_learns_a_wavenet():
    teacher = shaken(pf.wavenet(dim=12, width=8, depth=2, n_components=2, key=0), 0.1)
    student = pf.parallel_wavenet(dim=12, n_layers=1, width=8, depth=2, key=1)
    assert isinstance(student.bijection.bijections[0], Repeat)
    assert isinstance(student.bijection.bijections[0].layers, Inverse)
    assert isinstance(student.bijection.bijections[0].layers.bijection, MaskedAutoregressive)
    before = fidelity(teacher, student, key=0, n=2000).reverse_kl
    _, found = pf.distill(
        teacher, student, forward=0.0, annealing=0.0, n_next=4, **QUICK | {"steps": 200, "learning_rate": 1e-2}
    )
    assert found.reverse_kl < 0.5 * before


def test_a_tree_of_what_is_trained_is_of_the_whole_student():
    """Also where the outer layers are those of the teacher."""
    teacher = shaken(pf.maf(dim=2, n_layers=1, width=4, key=0))
    student = pf.iaf(dim=2, n_layers=1, width=4, key=1)
    biases = jax.tree.map(lambda trained, leaf: trained and np.ndim(leaf) == 2, pf.trainable(student), student)
    back, _ = pf.distill(teacher, student, trainable=biases, **QUICK | {"steps": 2})
    pairs = zip(jax.tree.leaves(back.bijection), jax.tree.leaves(student.bijection), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs if np.ndim(a) == 3)
