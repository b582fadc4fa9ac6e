"""Fits a flow of images to a folder of pictures, and scores it and a Gaussian in bits per dimension."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.image_baseline import gaussian_baseline
from pushforward.cli.outputs import versions, writing
from pushforward.cli.printer import Printer, describe_copies, describe_training, format_score, strict_json
from pushforward.core.dequantised import Dequantised, bits_per_dim
from pushforward.core.float64 import log_prob_float64
from pushforward.datasets import Images, image_folder
from pushforward.errors import DataError
from pushforward.persistence import save
from pushforward.recipes import IMAGE_RECIPES
from pushforward.tabular.leaderboard import mean_without
from pushforward.train import fit
from pushforward.train.data import Rows, dequantise_rows
from pushforward.train.split import has_equal_row

_UNITS = ("picture", "bits per dimension")


@dataclasses.dataclass
class ImageRow:
    """One row of the result: bits per dimension, the standard error of the test bits, seconds.

    `without_copies` are the bits of the test pictures that equal no training or validation picture; None if all test
    pictures equal one, or none does.
    """

    name: str
    validation_bits: float
    test_bits: float
    standard_error: float | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    without_copies: float | None = None


def fit_images(
    out: Printer, data: Path, recipe: str, settings: dict[str, Any], training: dict[str, Any], output: Path,
    report: Path | None, seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Run `pushforward fit` on a folder; `settings` are options of the recipe, `training` options of `fit`."""
    images = image_folder(data)
    (height, width, channels), parts = images.shape, (images.train, images.validation, images.test)
    count = sum(map(len, parts))
    out.print(f"{data}: {count:,} pictures of {height} x {width}, {'grey' if channels == 1 else 'in colour'}")
    out.print(
        f"fitting {recipe} to {len(images.train):,} of them; {len(images.validation):,} choose the weights, "
        f"{len(images.test):,} are held out for the test"
    )
    # two scales, the default of the recipes, if the sides can be halved twice
    scales = 2 if height % 4 == width % 4 == 0 else 1
    try:
        flow = IMAGE_RECIPES[recipe](images.shape, key=seed, levels=images.levels, n_scales=scales, **settings)
        model, history = fit(
            Dequantised(flow, images.levels), images.train, key=seed, validation=images.validation,
            progress=out.prints_text, **training,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    out.print(describe_training(history))
    is_copy = _is_copy(images)
    rows = [_flow_row(recipe, model, history, images, is_copy), _baseline_row(model, history, images, seed)]
    row, baseline = rows
    test_log_likelihood = -row.test_bits * math.prod(images.shape) * math.log(2)
    notes = {
        "shape": list(images.shape),
        "levels": images.levels,
        "recipe": recipe,
        "settings": {**settings, "n_scales": scales},
        "training": training,
        "seed": seed,
        "source": data.resolve().name,
        "pictures": count,
        "held_out_nats": strict_json(test_log_likelihood),
        "held_out": f"{len(images.test):,} test pictures",
        "test_bits": strict_json(row.test_bits),
        "validation_bits": strict_json(row.validation_bits),
        "gaussian_bits": strict_json(baseline.test_bits),
        **_copy_notes(history, row, images, is_copy),
        "stop_reason": history.stop_reason,
        "versions": versions(),
    }
    save(output, model, notes=notes, overwrite=overwrite)
    if report is not None:
        from pushforward.cli.pages import image_report

        with writing(report):
            image_report(report, data, model, history, rows, images, seed, overwrite, n_copies=int(is_copy.sum()))
    out.table(
        ["bits per dimension", "validation", f"test ({len(images.test):,} pictures)"],
        [
            [line.name, format_score(line.validation_bits), format_score(line.test_bits, line.standard_error)]
            for line in rows
        ],
    )
    if history.n_validation_copies:
        without = bits_per_dim(history.validation_without_copies, images.shape)
        out.print(
            describe_copies("validation pictures", history.n_validation_copies, history.n_validation, without, *_UNITS)
        )
    if is_copy.any():
        out.print(describe_copies("test pictures", int(is_copy.sum()), len(is_copy), row.without_copies, *_UNITS))
    _print_gain(out, baseline.test_bits - row.test_bits)
    out.print(f"wrote {output}" + (f" and {report}" if report else ""))
    out.print("next:")
    out.print(f"  pushforward score {output} NEW/ -o scores.csv")
    out.print(f"  pushforward sample {output} -n 16 -o samples/")
    out.result({
        **notes, "model": str(output), "report": None if report is None else str(report),
        "epochs": len(history.train), "fit_seconds": row.fit_seconds, "score_seconds": row.score_seconds,
    })  # fmt: skip


def _is_copy(images: Images) -> np.ndarray:
    """(n_test,) whether a test picture equals a training or validation picture."""
    others = np.concatenate([images.train, images.validation])
    return has_equal_row(Rows(images.test, None, None), Rows(others, None, None))


def _copy_notes(history: Any, row: ImageRow, images: Images, is_copy: np.ndarray) -> dict[str, Any]:
    """Notes on copies among test and validation pictures, and the bits of the others."""
    entries: dict[str, Any] = {}
    if is_copy.any():
        entries |= {"test_copies": int(is_copy.sum()), "test_bits_without_copies": row.without_copies}
    if history.n_validation_copies:
        entries["validation_copies"] = history.n_validation_copies
        bits = float(bits_per_dim(history.validation_without_copies, images.shape))
        entries["validation_bits_without_copies"] = strict_json(bits)
    return entries


def _flow_row(name: str, model: Any, history: Any, images: Images, is_copy: np.ndarray) -> ImageRow:
    start = time.perf_counter()
    bits = bits_per_dim(log_prob_float64(model, images.test), images.shape)
    elapsed = time.perf_counter() - start
    error = float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else None
    validation = float(bits_per_dim(history.best_validation, images.shape))
    without = mean_without(bits, is_copy)
    return ImageRow(name, validation, float(bits.mean()), error, history.seconds[-1], elapsed, without)


def _baseline_row(model: Any, history: Any, images: Images, seed: int) -> ImageRow:
    random = np.random.default_rng(seed)
    parts = (images.train, images.validation, images.test)
    dequantised = (dequantise_rows(model, Rows(part.astype(np.float64), None, None), random).x for part in parts)
    validation, test = gaussian_baseline(*dequantised)
    history.gaussian = validation  # the baseline of the training curve too
    return ImageRow("Gaussian", *(float(bits_per_dim(score, images.shape)) for score in (validation, test)))


def _print_gain(out: Printer, gain: float) -> None:
    if gain > 0:
        out.print(f"The flow needs {gain:.3f} bits per dimension fewer than a Gaussian.")
    else:
        suggestion = "try more --epochs, a smaller --width, or more pictures"
        out.print(f"The flow needs {-gain:.3f} bits per dimension more than a Gaussian: {suggestion}.")
