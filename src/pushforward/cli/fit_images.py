"""A flow of images fitted to a folder of pictures, and scored in bits per dimension beside a Gaussian."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.image_baseline import gaussian_floor
from pushforward.cli.outputs import writing
from pushforward.cli.printer import Printer, copies, course, nats
from pushforward.cli.scoring import mean_without, versions
from pushforward.core.dequantised import Dequantised, bits_per_dim
from pushforward.core.float64 import log_prob_float64
from pushforward.datasets import Images, image_folder
from pushforward.errors import DataError
from pushforward.persistence import save
from pushforward.recipes import IMAGE_RECIPES
from pushforward.train import fit
from pushforward.train.data import Rows, dequantise_rows
from pushforward.train.split import has_equal_row

_WORDS = ("picture", "bits per dimension")


@dataclasses.dataclass
class ImageRow:
    """One line of the result: bits per dimension, the standard error of the test's, seconds.

    `without_copies` are the bits of the test pictures that equal no picture for training or validation; None where none
    does, or all do.
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
    """What `pushforward fit` does with a folder; `settings` are those of the recipe, `training` those of `fit`."""
    images = image_folder(data)
    (height, width, channels), parts = images.shape, (images.train, images.validation, images.test)
    count = sum(map(len, parts))
    out.say(f"{data}: {count:,} pictures of {height} x {width}, {'grey' if channels == 1 else 'in colour'}")
    out.say(
        f"fitting {recipe} to {len(images.train):,} of them; {len(images.validation):,} choose the weights, "
        f"{len(images.test):,} are kept back for the test"
    )
    # two scales, as the recipes have, where the sides can be halved twice
    scales = 2 if height % 4 == width % 4 == 0 else 1
    try:
        flow = IMAGE_RECIPES[recipe](images.shape, key=seed, levels=images.levels, n_scales=scales, **settings)
        model, history = fit(
            Dequantised(flow, images.levels), images.train, key=seed, validation=images.validation, progress=out.talks,
            **training,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    out.say(course(history))
    is_copy = _is_copy(images)
    rows = [_flow_row(recipe, model, history, images, is_copy), _floor(model, history, images, seed)]
    row, floor = rows
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
        "held_out_nats": test_log_likelihood if math.isfinite(test_log_likelihood) else None,
        "held_out": f"{len(images.test):,} test pictures",
        "test_bits": _finite(row.test_bits),
        "validation_bits": _finite(row.validation_bits),
        "gaussian_bits": _finite(floor.test_bits),
        **_without_copies(history, row, images, is_copy),
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
        [[line.name, nats(line.validation_bits), nats(line.test_bits, line.standard_error)] for line in rows],
    )
    if history.n_validation_copies:
        without = bits_per_dim(history.validation_without_copies, images.shape)
        out.say(copies("validation pictures", history.n_validation_copies, history.n_validation, without, *_WORDS))
    if is_copy.any():
        out.say(copies("test pictures", int(is_copy.sum()), len(is_copy), row.without_copies, *_WORDS))
    _remark(out, floor.test_bits - row.test_bits)
    out.say(f"wrote {output}" + (f" and {report}" if report else ""))
    out.say("next:")
    out.say(f"  pushforward score {output} NEW/ -o scores.csv")
    out.say(f"  pushforward sample {output} -n 16 -o samples/")
    out.result({
        **notes, "model": str(output), "report": None if report is None else str(report),
        "epochs": len(history.train), "fit_seconds": row.fit_seconds, "score_seconds": row.score_seconds,
    })  # fmt: skip


def _is_copy(images: Images) -> np.ndarray:
    """(n_test,) whether a test picture equals one that trained or chose the weights."""
    others = np.concatenate([images.train, images.validation])
    return has_equal_row(Rows(images.test, None, None), Rows(others, None, None))


def _without_copies(history: Any, row: ImageRow, images: Images, is_copy: np.ndarray) -> dict[str, Any]:
    """For the notes: equal pictures among test and validation, and the bits of the others."""
    found: dict[str, Any] = {}
    if is_copy.any():
        found |= {"test_copies": int(is_copy.sum()), "test_bits_without_copies": row.without_copies}
    if history.n_validation_copies:
        found["validation_copies"] = history.n_validation_copies
        bits = float(bits_per_dim(history.validation_without_copies, images.shape))
        found["validation_bits_without_copies"] = _finite(bits)
    return found


def _flow_row(name: str, model: Any, history: Any, images: Images, is_copy: np.ndarray) -> ImageRow:
    start = time.perf_counter()
    bits = bits_per_dim(log_prob_float64(model, images.test), images.shape)
    took = time.perf_counter() - start
    error = float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else None
    validation = float(bits_per_dim(history.best_validation, images.shape))
    without = mean_without(bits, is_copy)
    return ImageRow(name, validation, float(bits.mean()), error, history.seconds[-1], took, without)


def _floor(model: Any, history: Any, images: Images, seed: int) -> ImageRow:
    random = np.random.default_rng(seed)
    parts = (images.train, images.validation, images.test)
    seen = (dequantise_rows(model, Rows(part.astype(np.float64), None, None), random).x for part in parts)
    validation, test = gaussian_floor(*seen)
    history.gaussian = validation  # the floor of the training curve too
    return ImageRow("Gaussian", *(float(bits_per_dim(nats, images.shape)) for nats in (validation, test)))


def _remark(out: Printer, gain: float) -> None:
    if gain > 0:
        out.say(f"The flow needs {gain:.3f} bits per dimension fewer than a Gaussian.")
    else:
        remedy = "try more --epochs, a smaller --width, or more pictures"
        out.say(f"The flow needs {-gain:.3f} bits per dimension more than a Gaussian: {remedy}.")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
