"""Residual flows: estimators, bounds after training, depth, log-likelihoods.

    python benchmarks/quality/residual.py --part estimators   # terms, bias and deviation over the Lipschitz bound
    python benchmarks/quality/residual.py --part bounds       # five data sets: norms and bounds, error of the inverse
    python benchmarks/quality/residual.py --part depth        # 10, 30, 100 blocks; and plain networks of that depth
    python benchmarks/quality/residual.py --part nats         # 2-D shapes and household power, with other families
    python benchmarks/quality/residual.py --part cost         # exact or estimated: time of a gradient; memory of a step

Results go to `benchmarks/results/residual_<part>.json`, `.md` and, for depth, `.png`.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from residual_pages import PAGES

import pushforward as pf
from pushforward.bijections import Contractive, Exact, PowerSeries, RussianRoulette
from pushforward.core.fields import cast, count_parameters
from pushforward.networks import LipschitzMLP, bounds_in

RESULTS = Path(__file__).resolve().parent.parent / "results"
N_TRAIN, N_TEST = 20_000, 20_000
KEYS = 20_000


# estimators -----------------------------------------------------------------------------------------------------------


def estimators() -> dict[str, Any]:
    """Of log det(I + A), A of 16 x 16 with norm L and a known spectrum, at one point; 20,000 keys each."""
    ways: dict[str, Callable[[], Any]] = {
        "series, 10 terms": lambda: PowerSeries(10),
        "roulette": lambda: RussianRoulette(),
        "roulette, Rademacher": lambda: RussianRoulette(probe="rademacher"),
        "roulette, 4 Gaussian probes": lambda: RussianRoulette(n_probes=4),
        "roulette, 4 orthogonal probes": lambda: RussianRoulette(n_probes=4, probe="orthogonal"),
        "roulette, q = 1/2": lambda: RussianRoulette(continuation=0.5, n_exact=2),
        "roulette, Poisson(2)": lambda: RussianRoulette("poisson", n_exact=2),
    }
    random = np.random.default_rng(0)
    matrix = random.normal(size=(16, 16))
    matrix /= np.linalg.norm(matrix, 2)
    rows = []
    for bound in (0.5, 0.7, 0.9, 0.97, 0.99):
        for kind, shape in (("general", matrix), ("symmetric, at the bound", -np.eye(16))):
            truth = float(np.linalg.slogdet(np.eye(16) + bound * shape)[1])
            for name, make in ways.items():
                rows.append({"bound": bound, "matrix": kind, "way": name, **_drawn(make, bound, bound * shape, truth)})
                print(rows[-1], flush=True)
    return {"rows": rows, "keys": KEYS}


class _Linear(eqx.Module):
    """g(x) = A x, as the estimators ask of a network."""

    matrix: jax.Array
    lipschitz: float = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.matrix),)

    def __call__(self, x: jax.Array, context: Any = None, *, key: Any = None) -> jax.Array:
        return self.matrix @ x


def _drawn(make: Any, bound: float, matrix: np.ndarray, truth: float) -> dict[str, Any]:
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator, network = make(), _Linear(jnp.asarray(matrix), bound)
        keys = jax.random.split(jax.random.key(0), KEYS)
        estimates = np.asarray(jax.jit(jax.vmap(lambda key: estimator(network, jnp.ones(16), None, key)[1]))(keys))
    if isinstance(estimator, PowerSeries):
        terms, finite = float(estimator.n_terms), True
    elif estimator.distribution == "geometric":
        q = estimator.continues(bound)
        terms, finite = estimator.n_exact + q / (1 - q), q > bound**2
    else:
        terms, finite = estimator.n_exact + estimator.rate, False
    return {
        "terms": terms,
        "finite_variance_at_worst": finite,
        "error_of_mean": float(estimates.mean() - truth),
        "standard_error": float(estimates.std() / KEYS**0.5),
        "deviation": float(estimates.std()),
        "largest": float(np.abs(estimates - truth).max()),
    }


# bounds ---------------------------------------------------------------------------------------------------------------


def bounds() -> dict[str, Any]:
    """Trained in float32 at L = 0.97 with the defaults of `fit` but for the number of epochs; then seen in float64."""
    rows = []
    for name, train in _five_sets().items():
        flow = pf.residual_flow(dim=train.shape[1], key=0, lipschitz=0.97)
        flow, history = pf.fit(flow, train, key=0, progress=False, max_epochs=40)
        with jax.enable_x64(True):
            double = cast(flow, jnp.float64)
            x = np.asarray(train[:500], np.float64)
            z, _ = jax.vmap(double.bijection.inverse_and_log_det)(x)
            again, _ = jax.jit(jax.vmap(double.bijection.forward_and_log_det))(z)
            scale = np.asarray(double.bijection.bijections[-1].scale)
            error = np.abs((np.asarray(again) - x) / scale).max()
            blocks = _blocks(double)
            solved = jax.jit(jax.vmap(blocks[0].solve))((x - x.mean(0)) / x.std(0))
            turns = np.asarray(solved.n_iterations)
        layers = [layer for block in blocks for layer in block.network.layers]
        excess = max(float(np.linalg.norm(np.asarray(layer.weight), 2)) - layer.coefficient for layer in layers)
        steepest = max(float(np.linalg.norm(np.asarray(layer.weight), 2)) / layer.coefficient for layer in layers)
        rows.append({
            "data": name, "dim": train.shape[1], "layers": len(layers), "largest_norm_less_bound": excess,
            "largest_norm_over_bound": steepest, "certified": float(bounds_in(flow)[0].max()),
            "inverse_error": float(error), "turns": [float(turns.mean()), int(turns.max())],
            "validation_log_likelihood": max(history.validation), "gaussian": history.gaussian,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return {"rows": rows, "lipschitz": 0.97}


def _five_sets() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_breast_cancer

    sets = {name: pf.datasets.toy(name, N_TRAIN, seed=0) for name in ("moons", "rings", "checkerboard")}
    cancer = load_breast_cancer().data
    cancer = (cancer - cancer.mean(0)) / cancer.std(0)
    axes = np.linalg.svd(cancer, full_matrices=False)[2][:10]
    return {**sets, "household power": pf.datasets.household_power().train, "breast cancer, 10 axes": cancer @ axes.T}


def _blocks(flow: pf.Flow) -> list[Contractive]:
    stack = flow.bijection.bijections[0]
    return [layer.bijections[0].bijection for layer in stack]


# depth ----------------------------------------------------------------------------------------------------------------


def depth() -> dict[str, Any]:
    rows = []
    train, test = (pf.datasets.toy("rings", n, seed=seed) for n, seed in ((N_TRAIN, 0), (N_TEST, 1)))
    truth = float(np.mean(pf.datasets.toy_log_density("rings", test)))
    for n_layers in (1, 3, 10, 30, 100):
        start = pf.residual_flow(dim=2, key=0, n_layers=n_layers, width=32)
        rows.append({"data": "rings", "truth": truth, **_deep(start, train, test, n_layers, 3000)})
        print(rows[-1], flush=True)
    wide_train, wide_test, truth = _wide(N_TRAIN, 0)[0], *_wide(N_TEST, 1)
    for n_layers in (3, 10, 30):
        start = pf.residual_flow(dim=43, key=0, n_layers=n_layers, width=64, lipschitz=0.9)
        rows.append({"data": "43-D", "truth": truth, **_deep(start, wide_train, wide_test, n_layers, 1500)})
        print(rows[-1], flush=True)
    result = {"rows": rows, "plain": _plain_networks()}
    _depth_picture(result)
    return result


def _deep(start: pf.Flow, train: np.ndarray, test: np.ndarray, n_layers: int, steps: int) -> dict[str, Any]:
    began = time.perf_counter()
    epochs = max(1, round(steps * 256 / (0.9 * len(train))))
    first = _first_block_gradient(start, train)
    flow, history = pf.fit(start, train, key=0, progress=False, max_epochs=epochs, patience=epochs)
    scores = np.asarray(flow.log_prob(test), np.float64)
    last = _first_block_gradient(flow, train)
    return {
        "n_layers": n_layers, "width": start.bijection.bijections[0].layers.bijections[0].bijection.network.layers[0]
        .weight.shape[-1], "parameters": count_parameters(flow), "steps": steps, "nats": float(scores.mean()),
        "standard_error": float(scores.std() / math.sqrt(len(scores))), "gaussian": history.gaussian,
        "skipped_steps": history.skipped_steps, "first_block_gradient": [first, last],
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _first_block_gradient(flow: pf.Flow, rows: np.ndarray) -> float:
    """Norm of the gradient of the mean log-likelihood of 256 rows in the block furthest from the data's likelihood."""
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    x = jnp.asarray((rows[:256] - rows.mean(0)) / rows.std(0), jnp.float32)

    def loss(trained: pf.Flow) -> jax.Array:
        model = eqx.combine(trained, rest)
        keys = jax.random.split(jax.random.key(0), len(x))
        return jax.vmap(model.log_prob_one, (0, None, 0))(x, None, keys).mean()

    gradient = jax.jit(jax.grad(loss))(trained).bijection.bijections[0].layers
    # the layer next to the data has the longest way back: the log-likelihood is read off at the base
    parts = [np.asarray(leaf[-1], np.float64) for leaf in jax.tree.leaves(gradient)]
    norm = math.sqrt(sum(float((part**2).sum()) for part in parts))
    if not math.isfinite(norm):
        raise RuntimeError("the gradient of the first block is not finite")
    return norm


def _wide(n: int, seed: int) -> tuple[np.ndarray, float]:
    """21 shapes of the plane and a normal, turned at random in 43 dimensions; and their mean log-density."""
    names = [pf.datasets.TOY_NAMES[i % len(pf.datasets.TOY_NAMES)] for i in range(21)]
    parts = [pf.datasets.toy(name, n, seed=100 * seed + i) for i, name in enumerate(names)]
    truth = sum(np.asarray(pf.datasets.toy_log_density(k, p), np.float64) for k, p in zip(names, parts, strict=True))
    normal = np.random.default_rng(seed).standard_normal((n, 1))
    truth = truth - 0.5 * normal[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((43, 43)))[0]
    return np.hstack([*parts, normal]) @ turn, float(truth.mean())


def _plain_networks() -> list[dict[str, Any]]:
    """Regression of sin(3 x) + |y| from 2,000 points by networks of width 32, with and without skips."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (2000, 2)).astype(np.float32)
    y = (np.sin(3 * x[:, 0]) + np.abs(x[:, 1])).astype(np.float32)
    rows = []
    for has_skips in (True, False):
        for n_blocks in (1, 3, 10, 30, 100):
            errors = [_regressed(x, y, n_blocks, has_skips, seed) for seed in range(3)]
            rows.append({"has_skips": has_skips, "n_blocks": n_blocks, "errors": errors, "variance": float(y.var())})
            print(rows[-1], flush=True)
    return rows


def _regressed(x: np.ndarray, y: np.ndarray, n_blocks: int, has_skips: bool, seed: int) -> float:
    """Mean squared error on the training points after 1,500 steps of Adam; a block is two layers with a ReLU each."""
    keys = jax.random.split(jax.random.key(seed), 4)
    width = 32
    scale = math.sqrt(2.0 / width) / (math.sqrt(n_blocks) if has_skips else 1.0)
    weights = {
        "in": jax.random.normal(keys[0], (2, width)),
        "blocks": scale * jax.random.normal(keys[1], (n_blocks, 2, width, width)),
        "biases": jnp.zeros((n_blocks, 2, width)),
        "out": jax.random.normal(keys[2], (width,)) / math.sqrt(width),
    }

    def predicted(weights: Any) -> jax.Array:
        def block(hidden: jax.Array, part: Any) -> tuple[jax.Array, None]:
            (first, second), (a, b) = part
            moved = jax.nn.relu(jax.nn.relu(hidden @ first + a) @ second + b)
            return (hidden + moved if has_skips else moved), None

        hidden, _ = jax.lax.scan(block, jnp.tanh(x @ weights["in"]), (weights["blocks"], weights["biases"]))
        return hidden @ weights["out"]

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-3, 1500)))

    @jax.jit
    def train(weights: Any) -> Any:
        def step(_: Any, carry: Any) -> Any:
            weights, state = carry
            gradient = jax.grad(lambda w: jnp.mean((predicted(w) - y) ** 2))(weights)
            update, state = optimizer.update(gradient, state)
            return optax.apply_updates(weights, update), state

        return jax.lax.fori_loop(0, 1500, step, (weights, optimizer.init(weights)))[0]

    return float(jnp.mean((predicted(train(weights)) - y) ** 2))


def _depth_picture(result: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, data in zip(axes, ("rings", "43-D"), strict=False):
        rows = [row for row in result["rows"] if row["data"] == data]
        ax.plot([row["n_layers"] for row in rows], [row["nats"] for row in rows], "o-", label="residual flow")
        ax.axhline(rows[0]["truth"], color="0.5", ls=":", label="true density")
        ax.set(title=f"{data}: held-out log-likelihood", xlabel="blocks", xscale="log")
        blocks = [row["n_layers"] for row in rows]
        ax.set_xticks(blocks, [str(n) for n in blocks])
        ax.minorticks_off()
        ax.legend(fontsize=8)
    for has_skips, label in ((True, "with skips"), (False, "without")):
        rows = [row for row in result["plain"] if row["has_skips"] == has_skips]
        axes[2].plot([row["n_blocks"] for row in rows], [sorted(row["errors"])[1] for row in rows], "o-", label=label)
    axes[2].axhline(result["plain"][0]["variance"], color="0.5", ls=":", label="variance of the target")
    axes[2].set(title="regression: training error", xlabel="blocks", xscale="log", yscale="log")
    axes[2].legend(fontsize=8)
    figure.savefig(RESULTS / "residual_depth.png", dpi=100)


# nats -----------------------------------------------------------------------------------------------------------------


def nats() -> dict[str, Any]:
    """All flows at the defaults of their recipe and of `fit`."""
    path = RESULTS / "residual_nats.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    power = pf.datasets.household_power()
    sets: dict[str, tuple[np.ndarray, np.ndarray, float | None]] = {}
    for shape in pf.datasets.TOY_NAMES:
        train, test = (pf.datasets.toy(shape, n, seed=seed) for n, seed in ((N_TRAIN, 0), (N_TEST, 1)))
        sets[shape] = train, test, float(np.mean(pf.datasets.toy_log_density(shape, test)))
    sets["household power"] = power.train, power.test, None
    for data, (train, test, truth) in sets.items():
        for recipe in ("residual_flow", "nsf", "maf"):
            if any(row["data"] == data and row["flow"] == recipe for row in rows):
                continue
            began = time.perf_counter()
            start = getattr(pf, recipe)(dim=train.shape[1], key=0)
            flow, history = pf.fit(start, train, key=0, progress=False)
            scores = np.asarray(flow.log_prob(test), np.float64)
            rows.append({
                "data": data, "flow": recipe, "truth": truth, "nats": float(scores.mean()),
                "standard_error": float(scores.std() / math.sqrt(len(scores))), "parameters": count_parameters(flow),
                "epochs": len(history.validation), "seconds": round(time.perf_counter() - began, 1),
            })  # fmt: skip
            print(rows[-1], flush=True)
            path.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return {"rows": rows}


# cost -----------------------------------------------------------------------------------------------------------------


def cost() -> dict[str, Any]:
    """Processor time of a gradient, exact and estimated, in turn; memory of a compiled step over the series terms."""
    rows = []
    for dim in (2, 4, 8, 16, 32, 64):
        ways = {"exact": Exact(), "roulette": RussianRoulette(), "series, 10 terms": PowerSeries(10)}
        calls = {name: _gradient(dim, way) for name, way in ways.items()}
        durations: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            call(0)
        for turn in range(15):
            for name, call in calls.items():
                began = time.process_time()
                call(turn)
                durations[name].append(time.process_time() - began)
        rows.append({"dim": dim, "milliseconds": {name: 1e3 * float(np.mean(t)) for name, t in durations.items()}})
        print(rows[-1], flush=True)
    memory = [{"n_terms": n, "bytes": _bytes(n)} for n in (5, 20, 80)]
    return {"rows": rows, "memory": memory}


def _gradient(dim: int, way: Any) -> Callable[[int], Any]:
    flow = pf.residual_flow(dim=dim, key=0, n_layers=3, log_det=way)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(256, dim)).astype(np.float32))
    trained, rest = eqx.partition(flow, pf.trainable(flow))

    @jax.jit
    def run(trained: pf.Flow, number: int) -> Any:
        def loss(trained: pf.Flow) -> jax.Array:
            keys = jax.random.split(jax.random.key(number), len(x))
            return -jax.vmap(eqx.combine(trained, rest).log_prob_one, (0, None, 0))(x, None, keys).mean()

        return jax.value_and_grad(loss)(trained)

    return lambda number: jax.block_until_ready(run(trained, number))


def _bytes(n_terms: int) -> int:
    """Temporary memory of a compiled gradient of one block: D = 43, two hidden layers of 256, 512 rows."""
    block = Contractive(
        LipschitzMLP(43, width=256, depth=2, lipschitz=0.97, key=jax.random.key(0)), training=PowerSeries(n_terms)
    )
    trained, rest = eqx.partition(block, pf.trainable(block))

    def loss(trained: Contractive, z: jax.Array, keys: jax.Array) -> jax.Array:
        model = eqx.combine(trained, rest)
        return jnp.mean(jax.vmap(lambda z, key: model.forward_and_log_det(z, key=key)[1])(z, keys))

    keys = jax.random.split(jax.random.key(0), 512)
    program = jax.jit(jax.grad(loss)).lower(trained, jnp.ones((512, 43)), keys).compile()
    return program.memory_analysis().temp_size_in_bytes


def main() -> None:
    parts = {"estimators": estimators, "bounds": bounds, "depth": depth, "nats": nats, "cost": cost}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(parts), required=True)
    part = parser.parse_args().part
    result = parts[part]()
    command = f"python benchmarks/quality/residual.py --part {part}"
    (RESULTS / f"residual_{part}.json").write_text(json.dumps({"command": command, **result}, indent=1) + "\n")
    title, body = PAGES[part](result)
    page = [f"# {title}", "", f"Made by `{command}`.", "", *body]
    (RESULTS / f"residual_{part}.md").write_text("\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main()
