"""Write one model file of each kind for the version at hand, with scores; a file that is there is left alone.

python tests/files/write.py
"""

import json
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

import pushforward as pf
from pushforward.core.fields import cast

HERE = Path(__file__).resolve().parent
SIZES = {"width": 6, "depth": 1, "n_layers": 2}
KINDS = {
    "nsf": ("float32", lambda: pf.nsf(3, key=0, context_dim=2, n_bins=4, **SIZES)),
    "maf": ("float64", lambda: pf.maf(3, key=0, **SIZES)),
    "linear": ("float64", lambda: pf.linear_flow(3, kind="qr", key=0, whiten=True)),
}


def trained(flow: pf.Flow, dtype: str) -> pf.Flow:
    """The flow after two epochs on correlated rows, so that every layer has been filled."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3)) @ (np.eye(3) + 0.5 * np.tri(3, k=-1)).T + 2.0
    context = None if flow.context_shape is None else random.normal(size=(400, *flow.context_shape))
    fitted, _ = pf.fit(flow, x, context=context, key=0, max_epochs=2, progress=False)
    return cast(fitted, dtype)


def main() -> None:
    for kind, (dtype, build) in KINDS.items():
        path = HERE / f"{kind}-{pf.__version__}.safetensors"
        if path.exists():
            print(f"{path.name} is there already")
            continue
        with jax.enable_x64(dtype == "float64"):
            flow = trained(build(), dtype)
            random = np.random.default_rng(1)
            x = 2.0 + random.normal(size=(6, 3))
            context = None if flow.context_shape is None else random.normal(size=(6, *flow.context_shape))
            scores = np.asarray(flow.log_prob(x, context), np.float64)
            pf.save(path, flow, notes={"columns": ["a", "b", "c"]})
        n_numbers = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_array)))
        told = {
            "dtype": dtype, "version": pf.__version__, "numbers": n_numbers, "x": x.tolist(),
            "context": None if context is None else context.tolist(), "log_prob": scores.tolist(),
        }  # fmt: skip
        path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
