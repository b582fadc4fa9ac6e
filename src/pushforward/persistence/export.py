"""Export of a flow as two compiled programs in a folder, for machines with JAX but without this library."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward._version import __version__
from pushforward.core.arguments import as_path
from pushforward.core.distribution import AbstractDistribution, log_prob_batch, sample_batch
from pushforward.core.flow_argument import check_flow_argument
from pushforward.errors import MissingExtra, ModelFileError
from pushforward.numerics.programs import CompiledModule, compiled_module, unflatten
from pushforward.persistence.atomic_write import write_atomically

PLATFORMS = ("cpu", "cuda", "tpu")
_NAMES = ("score.bin", "sample.bin", "README.md")


def export(
    flow: AbstractDistribution,
    path: str | os.PathLike[str],
    *,
    platforms: tuple[str, ...] = PLATFORMS,
    overwrite: bool = True,
) -> None:
    """Write a flow's density and its sampler as programs that run without pushforward.

    The folder has `score.bin`, `sample.bin` and a README on how to call them. Each is a serialized `jax.export`
    program for any number of rows n, with the weights included:

    - score(x, [context]) -> log p, of shape (n,), in nats;
    - sample(key, index, [context]) -> (x, log p): row i depends only on the key, two uint32 numbers, and on index[i].
      So index = 0 .. n - 1, in several calls if need be, gives the rows of `flow.sample(n, key=)`.

    Shapes: x (n, *shape), context (n, *context_shape), index (n,) of uint32. The programs do not check for NaN or
    infinite values: they return NaN where `flow.log_prob` raises an error.

    Args:
        flow: any distribution.
        path: of the folder, created if it does not exist.
        platforms: on which the programs will run: "cpu", "cuda", "rocm", "tpu".
        overwrite: whether existing programs are replaced.

    Cost: seconds of tracing; each file has the size of the weights and 10 to 60 kB more. Under `jax.jit` the first call
    of a program compiles it, once for each number of rows.

    Raises:
        ModelFileError: if the folder cannot be written, or a function of the flow cannot be exported.
        MissingExtra: if the package flatbuffers is missing: pip install "pushforward[export]".

    Example:
        >>> import tempfile, pathlib, numpy as np, pushforward as pf
        >>> from jax import export
        >>> folder = pathlib.Path(tempfile.mkdtemp(), "moons")
        >>> pf.export(pf.nice(dim=2, key=0, n_layers=1), folder, platforms=("cpu",))
        >>> score = export.deserialize(bytearray((folder / "score.bin").read_bytes()))
        >>> score.call(np.zeros((5, 2), np.float32)).shape
        (5,)
    """
    check_flow_argument("flow", flow, "export(flow, path)")
    target = as_path(path)
    if not platforms or not set(platforms) <= {*PLATFORMS, "rocm"}:
        raise ValueError(f"platforms: expected some of {(*PLATFORMS, 'rocm')}, got {platforms!r}.")
    _check_target(target, overwrite)
    module = compiled_module(flow)
    if module.is_traced:
        raise ModelFileError("the flow is under a trace: export outside jit, grad and vmap.")
    contents = (*_programs(flow, module, platforms), _readme(flow, module, platforms).encode())
    try:
        target.mkdir(exist_ok=True)
        for name, content in zip(_NAMES, contents, strict=True):
            write_atomically(target / name, lambda file, content=content: file.write(content), lambda: None)
    except OSError as error:
        reason = error.strerror or error
        raise ModelFileError(f"{target}: cannot be written ({reason}): choose another path.") from error


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise ModelFileError(f"{target}: is a file, expected a folder or a new name: choose another path.")
    if not target.parent.is_dir():
        raise ModelFileError(f"{target}: the folder {target.parent} does not exist: make it first.")
    if not overwrite and any((target / name).exists() for name in _NAMES):
        raise ModelFileError(f"{target}: already has programs: choose another folder, or pass overwrite=True.")


def _programs(flow: AbstractDistribution, module: CompiledModule, platforms: tuple[str, ...]) -> list[bytes]:
    """The serialized score and sampler; the number of rows is symbolic."""
    from jax import export as jax_export

    inner = unflatten(module.arrays, module.static)
    (n,) = jax_export.symbolic_shape("n")

    def rows(event: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *event), dtype)

    def score(x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        return log_prob_batch(inner, x, context)[0]

    def sample(key: jax.Array, index: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, ...]:
        return sample_batch(inner, jax.random.wrap_key_data(key), index, context)

    context = [] if flow.context_shape is None else [rows(flow.context_shape, module.dtype)]
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    calls = ((score, [rows(flow.shape, module.dtype)]), (sample, [key, rows((), np.uint32)]))
    contents = []
    for function, arguments in calls:
        exported = jax_export.export(jax.jit(function), platforms=platforms)(*arguments, *context)
        try:
            contents.append(bytes(exported.serialize(vjp_order=0)))
        except ImportError as error:
            raise MissingExtra("flatbuffers", "export", "Exporting a flow") from error
    return contents


def _readme(flow: AbstractDistribution, module: CompiledModule, platforms: tuple[str, ...]) -> str:
    shape, context = (_n_rows(event) for event in (flow.shape, flow.context_shape))
    argument = "" if context is None else ", context"
    lines = [
        "# An exported normalizing flow",
        "",
        f"Written by pushforward {__version__} and jax {jax.__version__}, for {', '.join(platforms)}.",
        "Needed to run it: `pip install jax flatbuffers`.",
        "",
        "```python",
        "import jax, numpy as np",
        "",
        "from jax import export",
        "",
        'score = jax.jit(export.deserialize(bytearray(open("score.bin", "rb").read())).call)',
        'sample = jax.jit(export.deserialize(bytearray(open("sample.bin", "rb").read())).call)',
        f"x, log_p = sample(np.array([0, seed], np.uint32), np.arange(n, dtype=np.uint32){argument})",
        f"log_p = score(x{argument})",
        "```",
        "",
        f"x: {module.dtype} {shape}" + ("" if context is None else f"; context: {module.dtype} {context}") + ".",
        "log_p: nats, one number a row; NaN where the input is not finite or a layer overflows.",
        "Row i of a sample depends only on the seed and on index i.",
    ]
    if module.dtype == np.float64:
        lines += ["", 'The numbers are float64: call `jax.config.update("jax_enable_x64", True)` first.']
    return "\n".join(lines) + "\n"


def _n_rows(event: tuple[int, ...] | None) -> str | None:
    """The shape of n rows of events, as text."""
    return None if event is None else "(" + ", ".join(["n", *map(str, event)]) + ")"
