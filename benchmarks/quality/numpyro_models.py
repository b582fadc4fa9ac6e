"""pushforward's guides against NumPyro's on small posteriors of difficult shape, and neural transport with them.

    python benchmarks/quality/numpyro_models.py                        # about 20 minutes on two cores
    python benchmarks/quality/numpyro_models.py --only planar_flow     # only this guide; other results stay

guides: every guide takes the same number of SVI steps with the same number of samples a step, the same Adam, schedule
and clipping. The figure is the ELBO of the last weights over many fresh samples. Times are of the processor, all
threads together, so that other work on the machine matters less; compiling is apart. Seeds change start location,
weights and noise.
transport: the guides of that training, by NumPyro's own `NeuTraReparam`; NUTS with four vectorised chains. ESS and
R-hat are of the model's own sites, element by element, the worst one; ESS per second is by the processor time of the
compiled program, warm-up included. Results go to `benchmarks/results/numpyro_models.*`.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoBNAFNormal, AutoIAFNormal
from numpyro.infer.reparam import NeuTraReparam

from pushforward.bijections import Affine, Chain, RationalQuadraticSpline
from pushforward.numpyro import AutoPushforward

RESULTS = Path(__file__).resolve().parent.parent / "results" / "numpyro_models"
STEPS, PARTICLES, PEAK, CLIP = 2000, 16, 5e-3, 10.0
N_ELBO, CHUNK = 50_000, 1000
CHAINS, WARMUP, KEPT = 4, 500, 500
SEEDS = (0, 1, 2)
EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], np.float32)
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], np.float32)


def schools_centred():
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", 8):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("effect", dist.Normal(theta, ERROR), obs=EFFECT)


def schools_non_centred():
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", 8):
        theta = numpyro.sample("theta", dist.Normal(0, 1))
        numpyro.sample("effect", dist.Normal(mu + tau * theta, ERROR), obs=EFFECT)


def funnel():
    v = numpyro.sample("v", dist.Normal(0, 3))
    numpyro.sample("x", dist.Normal(jnp.zeros(9), jnp.exp(v / 2)).to_event(1))


def banana():
    a = numpyro.sample("a", dist.Normal(0, 2))
    numpyro.sample("b", dist.Normal(a**2 / 2, 0.5))


MODELS: dict[str, Callable[[], None]] = {
    "eight schools, centred": schools_centred,
    "eight schools, non-centred": schools_non_centred,
    "funnel, D = 10": funnel,
    "banana, D = 2": banana,
}
DIMENSION = {schools_centred: 10, schools_non_centred: 10, funnel: 10, banana: 2}

SPLINE_AFFINE = Chain([RationalQuadraticSpline(8), Affine()])  # a transformer that scales beyond the spline's box too
GUIDES: dict[str, Callable[[Any, int], Any]] = {
    "AutoIAFNormal": lambda model, seed: AutoIAFNormal(model),
    "AutoBNAFNormal": lambda model, seed: AutoBNAFNormal(model),
    "iaf": lambda model, seed: AutoPushforward(model, "iaf", key=seed),
    "iaf, total gradient": lambda model, seed: AutoPushforward(model, "iaf", key=seed, path_gradient=False),
    "iaf, spline": lambda model, seed: AutoPushforward(model, "iaf", transformer="rational_quadratic", key=seed),
    "iaf, spline then affine": lambda model, seed: AutoPushforward(model, "iaf", transformer=SPLINE_AFFINE, key=seed),
    "iaf, made like AutoIAFNormal": lambda model, seed: AutoPushforward(
        model, "iaf", n_layers=3, width=DIMENSION[model], activation="elu", path_gradient=False, key=seed
    ),
    "AutoIAFNormal, ten times the steps": lambda model, seed: AutoIAFNormal(model),
    "planar_flow": lambda model, seed: AutoPushforward(model, "planar_flow", key=seed),
}
MORE_STEPS = {"AutoIAFNormal, ten times the steps": 10}  # what a guide makes of the time that a dearer one takes
TRANSPORT = (None, "AutoIAFNormal", "AutoBNAFNormal", "iaf", "iaf, made like AutoIAFNormal")


def optimised(model, guide, steps):
    schedule = optax.cosine_decay_schedule(PEAK, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(schedule))
    return SVI(model, guide, optimizer, Trace_ELBO(num_particles=PARTICLES))


def trained(model, make, steps):
    """One guide trained for so many steps from every seed: the guide, parameters by seed, and what was measured.

    The program is compiled once, with the first seed's guide; the others' start weights enter as its state.
    """
    guide = make(model, SEEDS[0])
    svi, one, fits, rows = optimised(model, guide, steps), Trace_ELBO(), [], []
    starts = [svi.init(jax.random.key(SEEDS[0]))]
    starts += [optimised(model, make(model, seed), steps).init(jax.random.key(seed)) for seed in SEEDS[1:]]

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda state, _: svi.update(state), state, None, length=steps)

    @jax.jit
    def bounds(params, keys):
        return jax.lax.map(jax.vmap(lambda key: -one.loss(key, params, model, guide)), keys)

    started = time.process_time()
    compiled = run.lower(starts[0]).compile()
    compiling = time.process_time() - started
    for seed, start in zip(SEEDS, starts, strict=True):
        began = time.process_time()
        state, losses = jax.block_until_ready(compiled(start))
        seconds = time.process_time() - began
        params = svi.get_params(state)
        keys = jax.random.split(jax.random.key(1000 + seed), N_ELBO).reshape(-1, CHUNK)
        values = np.asarray(bounds(params, keys), np.float64).reshape(-1)
        error = float(values.std(ddof=1) / np.sqrt(values.size))
        broken = int((~np.isfinite(np.asarray(losses))).sum())
        rows.append({"seed": seed, "elbo": float(values.mean()), "error": error, "seconds": seconds, "broken": broken})
        fits.append(params)
    return guide, fits, {"compile_seconds": compiling, "runs": rows}


def transported(model, guide, params, seed):
    """NUTS over the model, through the guide if there is one."""
    neutra = None if guide is None else NeuTraReparam(guide, params)
    sampled = model if neutra is None else neutra.reparam(model)

    @jax.jit  # the whole of it, for another run of an MCMC object compiles again
    def run(key):
        mcmc = MCMC(
            NUTS(sampled), num_warmup=WARMUP, num_samples=KEPT, num_chains=CHAINS, chain_method="vectorized",
            progress_bar=False,
        )  # fmt: skip
        mcmc.run(key, extra_fields=("diverging", "num_steps"))
        draws = mcmc.get_samples(group_by_chain=True)
        if neutra is not None:
            draws = neutra.transform_sample(draws[f"{guide.prefix}_shared_latent"])
        return draws, mcmc.get_extra_fields()

    started = time.process_time()
    compiled = run.lower(jax.random.key(seed + 100)).compile()
    between = time.process_time()
    draws, extra = jax.block_until_ready(compiled(jax.random.key(seed + 100)))
    seconds = time.process_time() - between
    draws = {name: np.asarray(value, np.float64) for name, value in draws.items()}
    effective = min(float(np.min(effective_sample_size(value))) for value in draws.values())
    return {
        "divergences": int(np.sum(extra["diverging"])),
        "leapfrog_steps": float(np.mean(extra["num_steps"])),
        "worst_r_hat": max(float(np.max(split_gelman_rubin(value))) for value in draws.values()),
        "least_ess": effective,
        "seconds": seconds,
        "compile_seconds": between - started,
        "ess_per_second": effective / seconds,
    }


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def page(results):
    s = results["settings"]
    lines = [
        "# Guides and neural transport in NumPyro",
        "",
        f"Made by `python benchmarks/quality/numpyro_models.py` on {s['date']}: {s['cores']} cores, Python "
        f"{s['python']}; load before the run {s['load']:.2f}, after it {s['load_after']:.2f}.",
        f"Versions: jax {s['jax']}, numpyro {s['numpyro']}.",
        "",
        f"Guides: {s['steps']} SVI steps, {s['particles']} samples a step, Adam with cosine decay from {s['peak']}, "
        f"gradient norm clipped at {s['clip']}, the same for all; every guide at its defaults but for what its name "
        f"says. ELBO in nats of the last weights over {s['n_elbo']} samples; median over {len(s['seeds'])} seeds, in "
        "brackets the smallest and the largest. Seconds are of the processor, for the steps alone, compiling apart. "
        "The standard error is the largest of the seeds'.",
        "",
        "| model | guide | ELBO | standard error | seconds | compile |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model, guides in results["guides"].items():
        for name, row in guides.items():
            runs = row["runs"]
            lines.append(
                f"| {model} | {name} | {spread([r['elbo'] for r in runs], 3)} | {max(r['error'] for r in runs):.3f} | "
                f"{spread([r['seconds'] for r in runs], 1)} | {row['compile_seconds']:.1f} |"
            )
    lines += [
        "",
        "The evidence of funnel and banana is 0, so that their ELBO is minus the divergence KL(q, p).",
        "",
        f"Transport: NUTS, {s['chains']} vectorised chains, {s['warmup']} + {s['kept']} iterations, step size and "
        "diagonal mass adapted; through the first seed's guide. R-hat and ESS are the worst of all numbers of the "
        "model's sites; seconds are of the processor, with warm-up and mapping back, compiling "
        "apart. "
        "Leapfrog steps are the mean of an iteration.",
        "",
        "| model | through | divergences | R-hat | ESS | leapfrog steps | seconds | ESS per second |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, ways in results["transport"].items():
        for name, row in ways.items():
            lines.append(
                f"| {model} | {name} | {row['divergences']} | {row['worst_r_hat']:.3f} | {row['least_ess']:.0f} | "
                f"{row['leapfrog_steps']:.1f} | {row['seconds']:.1f} | {row['ess_per_second']:.1f} |"
            )
    return "\n".join(lines) + "\n"


def main():
    settings = {
        "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "load_after": 0.0, "jax": jax.__version__, "numpyro": numpyro.__version__,
        "steps": STEPS, "particles": PARTICLES, "peak": PEAK, "clip": CLIP, "n_elbo": N_ELBO, "seeds": SEEDS,
        "chains": CHAINS, "warmup": WARMUP, "kept": KEPT,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=GUIDES, help="train this guide alone and add it to the results")
    only = parser.parse_args().only
    results = {"settings": settings, "guides": {}, "transport": {}}
    if only:
        results = json.loads(RESULTS.with_suffix(".json").read_text())
        settings = results["settings"]
    for name, model in MODELS.items():
        guides = results["guides"].setdefault(name, {})
        ready = {None: (None, None)}
        for label, make in GUIDES.items():
            if only in (None, label):
                guide, fits, guides[label] = trained(model, make, STEPS * MORE_STEPS.get(label, 1))
                ready[label] = guide, fits[0]
                print(name, label, guides[label], flush=True)
        results["guides"][name] = {label: guides[label] for label in GUIDES if label in guides}
        ways = results["transport"].setdefault(name, {})
        for label in () if only else TRANSPORT:
            ways[label or "none"] = transported(model, *ready[label], SEEDS[0])
            print(name, label, ways[label or "none"], flush=True)
        settings["load_after"] = os.getloadavg()[0]
        RESULTS.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        RESULTS.with_suffix(".md").write_text(page(results))


if __name__ == "__main__":
    main()
