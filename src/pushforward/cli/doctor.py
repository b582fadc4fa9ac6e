"""`pushforward doctor`: does this installation work?"""

import importlib.metadata
import importlib.util
import platform
import time

from pushforward.cli.options import Debug, Json, Printer, Quiet

_PACKAGES = (
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "numpy",
    "safetensors",
    "polars",
    "matplotlib",
    "scikit-learn",
    "numpyro",
)


def doctor(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> int:
    """Print versions and devices, then build, fit and invert a small flow. Exit code 1 if that fails."""
    out = Printer(json, quiet)
    import jax
    import numpy as np

    from pushforward._version import __version__
    from pushforward.recipes import nsf
    from pushforward.train import fit

    found = {name: _version(name) for name in _PACKAGES}
    devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    start = time.perf_counter()
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
    flow, history = fit(nsf(2, key=0, n_layers=2, width=8), x, key=0, max_epochs=2, progress=False)
    z = [flow.bijection.inverse(row) for row in x[:3].astype(np.float32)]
    error = max(float(abs(flow.bijection.forward(part) - row).max()) for part, row in zip(z, x[:3], strict=True))
    took = time.perf_counter() - start
    ok = error < 1e-3 and history.skipped_steps == 0
    out.say(f"pushforward {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    out.table("Packages", ["package", "version"], [[name, version or "absent"] for name, version in found.items()])
    out.say(f"devices: {', '.join(devices)}")
    out.say(
        f"a small fit took {took:.1f} s (compilation {history.compile_seconds:.1f} s); round trip error {error:.1e}"
    )
    out.say("all is well" if ok else "the round trip or the fit failed: reinstall, or report this with the lines above")
    out.result({"ok": ok, "versions": found, "devices": devices, "round_trip_error": error, "seconds": took})
    return 0 if ok else 1


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
