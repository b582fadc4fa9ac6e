"""Image flows at equal budget: bits per dimension, step and sample times, pictures.

    python benchmarks/quality/images.py --part digits --minutes 10     # six kinds of flow on the 8 x 8 digits
    python benchmarks/quality/images.py --part equal --minutes 10      # emerging against 1 x 1, equal parameters
    python benchmarks/quality/images.py --part large --minutes 20      # 28 x 28: 5,000 digits and clothes
    python benchmarks/quality/images.py --part digits --only glow ...  # one flow; other results stay

The budget is processor time of the training steps, compilation aside: other work on the machine does not change how
many epochs fit into it, if each process has one core (`taskset -c 0 python ...`; two may run at the same time). A fit
that over-fits stops earlier, and the best weights on the validation images are used. Bits are those of the evidence
bound on test images, eight draws of uniform noise. Results go to `benchmarks/results/images_<part>.json`, `.md` and
`.png`.
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.core.fields import count_parameters
from pushforward.datasets import Images, digits, fashion_mnist, mnist_digits

RESULTS = Path(__file__).resolve().parent.parent / "results"
CLOTHES = "/usr/share/datasets/fashion-mnist"  # of the Debian package dataset-fashion-mnist
BATCH, LOG_TWO = 128, math.log(2)
Build = Callable[..., pf.Flow]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A recipe with its options; `seconds` of a step and of samples are measured on what comes out."""

    build: Build
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    rate: float = 2e-3


KINDS: dict[str, Kind] = {
    "additive": Kind(pf.real_nvp_image, {"transformer": "additive"}),
    "affine": Kind(pf.real_nvp_image),
    "glow": Kind(pf.glow),
    "emerging": Kind(pf.emerging_glow),
    "periodic": Kind(pf.periodic_glow),
    "residual": Kind(pf.residual_flow_image, {"lipschitz": 0.9}),
}


def fitted(
    kind: Kind, data: Images, minutes: float, sizes: dict[str, Any], epoch: float | None = None
) -> tuple[Any, dict[str, Any]]:
    """A flow trained for so long, and what there is to say of it; `epoch`: seconds of an epoch where they are known."""
    start = pf.Dequantised(
        kind.build(data.shape, key=0, levels=data.levels, alpha=0.01, **sizes, **kind.options), data.levels
    )
    options: dict[str, Any] = {"key": 0, "validation": data.validation, "batch_size": BATCH, "progress": False}
    began = time.perf_counter()
    if epoch is None:
        pf.fit(start, data.train, max_epochs=1, learning_rate=kind.rate, **options)  # compiles
        worked = time.process_time()
        pf.fit(start, data.train, max_epochs=4, learning_rate=kind.rate, **options)
        epoch = (time.process_time() - worked) / 4
    epochs = max(2, int(60 * minutes / epoch))
    flow, history = pf.fit(
        start, data.train, max_epochs=epochs, patience=max(10, epochs // 4), learning_rate=kind.rate, **options
    )
    scores = np.asarray(flow.log_prob(data.test), np.float64)
    bits = np.asarray(pf.bits_per_dim(scores, data.shape))
    flow.sample(64, key=0)
    drawn = []
    for seed in range(5):
        moment = time.perf_counter()
        np.asarray(flow.sample(64, key=seed))
        drawn.append(time.perf_counter() - moment)
    return flow, {
        "bits": float(bits.mean()), "standard_error": float(bits.std() / math.sqrt(len(bits))),
        "validation_bits": float(-max(history.validation) / math.prod(data.shape) / LOG_TWO),
        "gaussian_bits": float(-history.gaussian / math.prod(data.shape) / LOG_TWO),
        "parameters": count_parameters(flow), "epochs": len(history.validation), "planned_epochs": epochs,
        "best_epoch": int(np.argmax(history.validation)) + 1, "epoch_seconds": epoch,
        "sample_64_ms": 1e3 * float(np.median(drawn)), "minutes": (time.perf_counter() - began) / 60,
    }  # fmt: skip


def run_digits(names: list[str], minutes: float, epoch: float | None) -> None:
    data, sizes = digits(), {"n_scales": 2, "width": 32}
    _run("digits", {name: (KINDS[name], data, sizes) for name in names}, minutes, epoch)


def run_large(names: list[str], minutes: float, epoch: float | None) -> None:
    jobs = {}
    sets = {"5,000 digits": mnist_digits, "clothes": lambda: fashion_mnist(CLOTHES)}
    if epoch is not None:  # known from the digits: clothes are of the same size
        del sets["5,000 digits"]
    for data_name, load in sets.items():
        data = load()
        for name in names:
            jobs[f"{name}, {data_name}"] = (KINDS[name], data, {"n_scales": 2, "width": 48})
    _run("large", jobs, minutes, epoch)


def run_equal(names: list[str], minutes: float, epoch: float | None) -> None:
    """Glow as wide as brings it to the number of parameters of emerging Glow, and emerging Glow."""
    data, sizes = digits(), {"n_scales": 2, "width": 32}

    def size(build: Build, width: int) -> int:
        return count_parameters(build(data.shape, key=0, levels=data.levels, **(sizes | {"width": width})))

    target = size(pf.emerging_glow, 32)
    width = min(range(32, 64), key=lambda width: abs(size(pf.glow, width) - target))
    jobs = {
        "1 x 1": (KINDS["glow"], data, sizes | {"width": width}),
        "emerging": (KINDS["emerging"], data, sizes),
        "emerging, quadrants": (Kind(pf.emerging_glow, {"mask": "quadrant"}), data, sizes),
    }
    _run("equal", jobs, minutes, epoch)


def _run(part: str, jobs: dict[str, tuple[Kind, Images, dict[str, Any]]], minutes: float, epoch: float | None) -> None:
    path = RESULTS / f"images_{part}.json"
    for name, (kind, data, sizes) in jobs.items():
        flow, figures_of_fit = fitted(kind, data, minutes, sizes, epoch)
        old_rows = (
            json.loads(path.read_text())["rows"] if path.exists() else []
        )  # now: another process may have added some
        rows = [row for row in old_rows if row["flow"] != name]
        rows.append({"flow": name, "budget_minutes": minutes, "sizes": sizes, **figures_of_fit})
        print(rows[-1], flush=True)
        _picture(flow, data, f"images_{part}_{name.replace(', ', '_').replace(' ', '').replace(',', '')}")
        command = f"python benchmarks/quality/images.py --part {part} --minutes {minutes:g}"
        path.write_text(json.dumps({"command": command, "rows": rows}, indent=1) + "\n")
    _page(part, json.loads(path.read_text()))


def _picture(flow: Any, data: Images, name: str) -> None:
    """Test images, samples, and walks through the latent space between test images."""
    from matplotlib.figure import Figure

    samples = np.asarray(flow.sample(20, key=1))
    ends = data.test[:4].astype(np.float32) + 0.5
    z = np.asarray(jax.jit(jax.vmap(lambda x: flow.flow.bijection.inverse_and_log_det(x)[0]))(ends))
    angles = np.linspace(0, np.pi / 2, 10)[:, None, None, None]  # along circles: normals keep their lengths
    walks = [np.cos(angles) * z[i] + np.sin(angles) * z[i + 1] for i in (0, 2)]
    inner = jax.jit(jax.vmap(lambda z: flow.flow.bijection.forward_and_log_det(z)[0]))
    walked = [np.clip(np.floor(np.asarray(inner(walk))), 0, data.levels - 1) for walk in walks]
    rows = [data.test[:10], samples[:10], samples[10:], *walked]
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.subplots(len(rows), 10)
    labels = ("test", "samples", "samples", "walk", "walk")
    for line, (images, label) in enumerate(zip(rows, labels, strict=True)):
        for column, image in enumerate(images):
            ax = axes[line, column]
            ax.imshow(np.asarray(image).squeeze() / (data.levels - 1), cmap="gray", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
        axes[line, 0].set_ylabel(label)
    figure.savefig(RESULTS / f"{name}.png", dpi=70)


def _page(part: str, result: dict[str, Any]) -> None:
    head = [
        "flow", "test bits/dim", "validation", "parameters", "epochs (best)", "processor ms an epoch",
        "ms for 64 samples", "minutes",
    ]  # fmt: skip
    lines = [
        f"# Image flows: {part}", "", f"Made by `{result['command']}`.", "",
        f"Equal budgets of processor time, batch {BATCH}, uniform dequantisation, evidence bound of eight draws. A "
        f"Gaussian: {result['rows'][0]['gaussian_bits']:.3f} bits on the validation images.", "",
        "| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |",
    ]  # fmt: skip
    for row in sorted(result["rows"], key=lambda row: row["bits"]):
        cells = [
            row["flow"], f"{_bits(row['bits'])} +- {_bits(row['standard_error'])}", f"{row['validation_bits']:.3f}",
            f"{row['parameters']:,}", f"{row['epochs']} ({row['best_epoch']})", f"{1e3 * row['epoch_seconds']:.0f}",
            f"{row['sample_64_ms']:.1f}", f"{row['minutes']:.1f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    (RESULTS / f"images_{part}.md").write_text("\n".join(lines) + "\n")


def _bits(value: float) -> str:
    return f"{value:.3f}" if value < 1e4 else f"{value:.2g}"


def main() -> None:
    parts = {"digits": run_digits, "equal": run_equal, "large": run_large}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(parts), required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", action="append", choices=tuple(KINDS), help="these kinds alone")
    parser.add_argument(
        "--epoch-seconds", type=float, help="of an epoch of the clothes, where known: not measured then"
    )
    options = parser.parse_args()
    names = options.only or (list(KINDS) if options.part == "digits" else ["glow", "emerging"])
    parts[options.part](names, options.minutes, options.epoch_seconds)


if __name__ == "__main__":
    main()
