"""Settings of JAX and XLA with which programs compile fast and run slowly, for tests and pages of the documentation.

Their programs run once or twice, and two thirds of the time went into compiling them. Without most optimisations and
without XLA's newer emitters of fused loops compilation takes a quarter of the time. One piece of code generation
instead of 32 threads' pieces takes a tenth less, no tracebacks in programs a twentieth. Results differ by rounding.
"""

import os
import subprocess
import sys

_XLA_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
_JAX = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
LOCATIONS = {"JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS": "0", "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0"}


def settings() -> dict[str, str]:
    """Environment variables, without the flags of XLA if this release of JAX lacks one."""
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()}
    command = (sys.executable, "-c", "import jax; jax.devices()")
    is_known = subprocess.run(command, env={**os.environ, **flags}, capture_output=True, check=False).returncode == 0
    return {**_JAX, **LOCATIONS, **(flags if is_known else {})}
