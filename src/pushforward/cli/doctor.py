"""`pushforward doctor`: tests this installation."""

import importlib.metadata
import platform
import time

from pushforward.cli.options import Debug, Json, Quiet, Seed
from pushforward.cli.printer import Printer, format_seconds

# Each package with the extras that install it, the smallest first; "" for a dependency of the core.
_PACKAGES = {
    "jax": "",
    "jaxlib": "",
    "equinox": "",
    "optax": "",
    "numpy": "",
    "safetensors": "",
    "polars": "tables",
    "scikit-learn": "tables, sklearn",
    "matplotlib": "report",
    "jinja2": "report",
    "typer": "cli",
    "rich": "cli",
    "platformdirs": "cli",
    "filelock": "cli",
    "mlxtend": "images",
    "pillow": "images",
    "flatbuffers": "export",
    "numpyro": "numpyro",
    "flowjax": "flowjax",
}
_TOLERANCE = 1e-3


def doctor(seed: Seed = 0, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> int:
    """Print versions and devices, then build, fit and invert a small flow. Exit code 1 if that fails."""
    out = Printer(json, quiet)
    import jax

    from pushforward._version import __version__

    installed = {name: _version(name) for name in _PACKAGES}
    devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    out.facts([
        ("pushforward", __version__),
        ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("devices", ", ".join(devices)),
    ])  # fmt: skip
    out.table(
        ["package", "version", "extra"],
        [[name, version or "absent", _PACKAGES[name]] for name, version in installed.items()],
        left=3,
    )
    absent = sorted({_PACKAGES[name].split(", ")[0] for name, version in installed.items() if version is None} - {""})
    if absent:
        out.print(f'to install absent packages: pip install "pushforward[{",".join(absent)}]"')
    error, skipped_steps, elapsed, compile_seconds = _small_fit(seed)
    ok = error < _TOLERANCE and not skipped_steps
    out.print(
        f"a small fit took {format_seconds(elapsed)} ({format_seconds(compile_seconds)} compiling); "
        f"round trip error {error:.1e}"
    )
    expected = f"expected a round trip error below {_TOLERANCE:g} and no skipped step ({skipped_steps} were skipped)"
    failure = f"This installation does not work: {expected}. Reinstall jax and jaxlib, or report this output."
    out.print("This installation works." if ok else failure)
    out.result({
        "ok": ok, "pushforward": __version__, "python": platform.python_version(), "versions": installed,
        "devices": devices, "round_trip_error": error, "skipped_steps": skipped_steps, "seconds": elapsed,
    })  # fmt: skip
    return 0 if ok else 1


def _small_fit(seed: int) -> tuple[float, int, float, float]:
    """Build, fit and invert a flow; return the largest round trip error, skipped steps, seconds, compile seconds."""
    import jax
    import numpy as np

    from pushforward.recipes import nsf
    from pushforward.train import fit

    start = time.perf_counter()
    x = np.random.default_rng(seed).normal(3.0, 2.0, size=(500, 2))
    flow, history = fit(nsf(2, key=seed, n_layers=2, width=8), x, key=seed, max_epochs=2, progress=False)
    rows = x[:16].astype(np.float32)
    returned = jax.jit(jax.vmap(lambda row: flow.bijection.forward(flow.bijection.inverse(row))))(rows)
    error = float(np.abs(np.asarray(returned) - rows).max())
    return error, history.skipped_steps, time.perf_counter() - start, history.compile_seconds


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
