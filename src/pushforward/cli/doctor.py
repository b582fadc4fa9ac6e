"""`pushforward doctor`: does this installation work?"""

import importlib.metadata
import platform
import time

from pushforward.cli.options import Debug, Json, Quiet, Seed
from pushforward.cli.printer import Printer, seconds

# Each package with the extra that brings it; "" for what every installation needs.
_PACKAGES = {
    "jax": "",
    "jaxlib": "",
    "equinox": "",
    "optax": "",
    "numpy": "",
    "safetensors": "",
    "typer": "cli",
    "rich": "cli",
    "polars": "cli",
    "matplotlib": "cli",
    "scikit-learn": "cli, sklearn",
    "numpyro": "numpyro",
}
_TOLERANCE = 1e-3


def doctor(seed: Seed = 0, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> int:
    """Print versions and devices, then build, fit and invert a small flow. Exit code 1 if that fails."""
    out = Printer(json, quiet)
    import jax

    from pushforward._version import __version__

    found = {name: _version(name) for name in _PACKAGES}
    devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    out.facts([
        ("pushforward", __version__),
        ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("devices", ", ".join(devices)),
    ])  # fmt: skip
    out.table(
        ["package", "version", "extra"],
        [[name, version or "absent", _PACKAGES[name]] for name, version in found.items()],
        left=3,
    )
    absent = sorted({_PACKAGES[name].split(", ")[0] for name, version in found.items() if version is None} - {""})
    if absent:
        out.say(f'for what is absent: pip install "pushforward[{",".join(absent)}]"')
    error, skipped, took, compiling = _trial(seed)
    ok = error < _TOLERANCE and not skipped
    out.say(f"a small fit took {seconds(took)} ({seconds(compiling)} compiling); round trip error {error:.1e}")
    remedy = f"the round trip should err by less than {_TOLERANCE:g} and no step be skipped ({skipped} were)"
    out.say("all is well" if ok else f"not well: {remedy}: reinstall jax and jaxlib, or report these lines")
    out.result({
        "ok": ok, "pushforward": __version__, "python": platform.python_version(), "versions": found,
        "devices": devices, "round_trip_error": error, "skipped_steps": skipped, "seconds": took,
    })  # fmt: skip
    return 0 if ok else 1


def _trial(seed: int) -> tuple[float, int, float, float]:
    """Build, fit, invert: the greatest round trip error, skipped steps, seconds, seconds of compiling."""
    import jax
    import numpy as np

    from pushforward.recipes import nsf
    from pushforward.train import fit

    start = time.perf_counter()
    x = np.random.default_rng(seed).normal(3.0, 2.0, size=(500, 2))
    flow, history = fit(nsf(2, key=seed, n_layers=2, width=8), x, key=seed, max_epochs=2, progress=False)
    rows = x[:16].astype(np.float32)
    back = jax.jit(jax.vmap(lambda row: flow.bijection.forward(flow.bijection.inverse(row))))(rows)
    error = float(np.abs(np.asarray(back) - rows).max())
    return error, history.skipped_steps, time.perf_counter() - start, history.compile_seconds


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
