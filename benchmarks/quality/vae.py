"""What a flow as the posterior is worth: the auto-encoder of examples/vae_digits.py, by posterior.

    python benchmarks/quality/vae.py

The same encoder, decoder, optimiser, epochs and batches for all, three seeds; of each run the epoch that is best on 500
validation digits, then the negative ELBO on 1,000 held-out digits (mean over five posterior samples each), and
-log p(x) by importance sampling. Results go to `benchmarks/results/vae.json` and `.md`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "examples"))

import vae_digits  # noqa: E402

SAMPLES, N_IMPORTANCE = 5, 200
# Negative ELBO on MNIST, 50,000 digits, 64 latent numbers: Grathwohl et al. 2019 (FFJORD), table 3.
PUBLISHED = {"none": "86.55", "planar": "86.06", "sylvester": "83.32", "iaf": "84.20"}


def judged(posterior: str, data: dict[str, np.ndarray], epochs: int, seed: int) -> dict[str, Any]:
    fitted = vae_digits.train(posterior, data, epochs, seed, quiet=True)
    model, pixels = fitted.pop("model"), jnp.asarray(vae_digits.binarised(data["test"]))
    scores = [vae_digits.negative_elbo(model, pixels, jax.random.key(100 + i)) for i in range(SAMPLES)]
    weighted = vae_digits.importance_weighted(model, pixels, jax.random.key(7), N_IMPORTANCE)
    row = {
        "seed": seed, "negative_elbo": float(np.mean([np.asarray(s) for s in scores])),
        "negative_log_p": float(np.asarray(weighted).mean()), "best_epoch": fitted["best_epoch"],
        "parameters": fitted["parameters"], "epoch_seconds": fitted["epoch_seconds"],
    }  # fmt: skip
    print(posterior, row, flush=True)
    return row


def page(result: dict[str, Any]) -> str:
    def spread(runs: list[dict], key: str) -> str:
        values = [run[key] for run in runs]
        return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    lines = [
        "# A flow as the posterior of an auto-encoder",
        "",
        f"Made by `{result['command']}`: 3,500 digits to train, 500 to choose the epoch (of {result['epochs']}), "
        f"1,000 held out; {vae_digits.LATENT} latent numbers; mean over {len(result['seeds'])} seeds (least to "
        "greatest).",
        "",
        "| posterior | negative ELBO, nats | -log p(x), 200 samples | parameters | seconds an epoch | best epochs | "
        "MNIST, published |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in result["posteriors"].items():
        cells = [
            name, spread(runs, "negative_elbo"), spread(runs, "negative_log_p"), f"{runs[0]['parameters']:,}",
            f"{np.median([run['epoch_seconds'] for run in runs]):.2f}",
            ", ".join(str(run["best_epoch"] + 1) for run in runs), PUBLISHED.get(name, ""),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Published: Grathwohl et al. 2019, table 3, in the set-up of van den Berg et al. 2018 (50,000 digits, 64 "
        "latent numbers): only the order compares.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    data, seeds = vae_digits.digits(), list(range(chosen.seeds))
    posteriors = {name: [judged(name, data, chosen.epochs, seed) for seed in seeds] for name in vae_digits.POSTERIORS}
    command = f"python benchmarks/quality/vae.py --epochs {chosen.epochs} --seeds {chosen.seeds}"
    result = {"command": command, "epochs": chosen.epochs, "seeds": seeds, "posteriors": posteriors}
    (RESULTS / "vae.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "vae.md").write_text(page(result))


if __name__ == "__main__":
    main()
