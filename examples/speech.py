"""Distillation on speech: a WaveNet as the teacher, a parallel WaveNet as the student that samples in one pass.

    python examples/speech.py --out speech                    # what `make audio` runs
    python examples/speech.py --out speech --steps 20000 --student-steps 8000 --width 48

The teacher is fitted to windows of 120 ms: p(window | frames), where frames are spectra of 20 ms in 20 bands. In half
of the windows the frames are masked, so one teacher models speech with and without them. The student is distilled by
KL(student | teacher) with a penalty on the spectra of its samples. Both are then extended: to half a second for tests
and times, to two seconds for listening. The data are the prompts of the Debian package asterisk-core-sounds-en-wav
(8 kHz, 16 bits).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from linear_prediction import FRAME, baselines
from spectra import BANDS, draw_history, draw_spectrograms, spectra, windows

import pushforward as pf
from pushforward.datasets import Sound, speech, write_wave

FOLDER = "/usr/share/asterisk/sounds/en_US_f_Allison"  # of the Debian package asterisk-core-sounds-en-wav
WINDOW, TEST_WINDOW, LONG_WINDOW = 6 * FRAME, 25 * FRAME, 100 * FRAME  # samples, for training, tests and listening
COMPANDING, ORDER = 8.0, 32
PENALTY = 0.1  # nats per sample for a band that is off by a factor of e in power


def fit_teacher(data: Any, mean: np.ndarray, options: argparse.Namespace) -> pf.Flow:
    """A density of real numbers, fitted to dequantised levels. Every other window has masked frames."""
    train, validation = windows(data.train, WINDOW), windows(data.validation, WINDOW)
    validation = validation[np.random.default_rng(0).permutation(len(validation))[:256]]
    contexts = visible(np.asarray(spectra(train, data.levels)))
    contexts[1::2] = masked(contexts[1::2].shape, mean)
    validation_contexts = visible(np.asarray(spectra(validation, data.levels)))
    validation_contexts[1::2] = masked(validation_contexts[1::2].shape, mean)
    flow = pf.wavenet(
        WINDOW, width=options.width, depth=20, n_components=4, prediction=ORDER, companding=COMPANDING,
        context_dim=BANDS + 1, n_frames=WINDOW // FRAME, key=options.seed,
    )  # fmt: skip
    epochs = max(1, round(options.steps / (len(train) // options.batch)))
    teacher, _ = pf.fit(
        pf.Dequantised(flow, data.levels, n_draws=1), train, context=contexts,
        validation=(validation, validation_contexts), key=options.seed, batch_size=options.batch,
        max_epochs=epochs, learning_rate=4e-3, ema=0.995,
    )  # fmt: skip
    return teacher.flow


def visible(frames: np.ndarray) -> np.ndarray:
    """Visible frames: their bands, and a one."""
    return np.concatenate([frames, np.ones((*frames.shape[:2], 1))], -1)


def masked(shape: tuple[int, ...], mean: np.ndarray) -> np.ndarray:
    """Masked frames: the mean of all, and a zero."""
    return np.broadcast_to(np.append(mean, 0.0), shape)


def distill_student(
    teacher: pf.Flow, data: Any, options: argparse.Namespace
) -> tuple[pf.Flow, pf.diagnostics.Fidelity, float]:
    contexts = visible(np.asarray(spectra(windows(data.train, WINDOW), data.levels)))
    student = pf.parallel_wavenet(
        WINDOW, width=options.student_width, depth=options.student_depth, n_layers=2, prediction=ORDER,
        context_dim=BANDS + 1, n_frames=WINDOW // FRAME, key=options.seed + 1,
    )  # fmt: skip

    def penalty(x: jax.Array, frames: jax.Array) -> jax.Array:
        return PENALTY * WINDOW * jnp.mean((spectra(x, data.levels) - frames[..., :BANDS]) ** 2)

    start = time.perf_counter()
    student, fidelity = pf.distill(
        teacher, student, context=contexts, key=options.seed, steps=options.student_steps, forward=0, annealing=0,
        n_next=4, penalty=penalty, batch_size=options.batch, learning_rate=6e-3, n_fidelity=256,
        tolerance=float(WINDOW),  # a nat per sample
    )  # fmt: skip
    return student, fidelity, time.perf_counter() - start


def bits(teacher: Any, rows: np.ndarray, contexts: np.ndarray) -> tuple[float, float]:
    """Bits per integer sample by the dequantised density, and the standard error over the windows."""
    log_probs = [np.asarray(teacher.log_prob(rows[i : i + 16], contexts[i : i + 16])) for i in range(0, len(rows), 16)]
    each = pf.bits_per_dim(np.concatenate(log_probs).astype(np.float64), teacher.shape)
    return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def seconds(calls: dict[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Medians without compilation. The calls alternate, so that load on the machine affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=FOLDER, help="of wave files, 8 kHz")
    parser.add_argument("--out", type=Path, default=Path("speech"), help="folder for sounds, pictures and figures")
    parser.add_argument("--steps", type=int, default=3750, help="of the teacher")
    parser.add_argument("--teacher", type=Path, help="an existing teacher.safetensors, instead of a new fit")
    parser.add_argument("--student-steps", type=int, default=2500)
    parser.add_argument("--width", type=int, default=32, help="channels of the teacher")
    parser.add_argument("--student-width", type=int, default=16)
    parser.add_argument("--student-depth", type=int, default=6, help="dilated layers in each of its two")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = speech(options.folder)

    test = windows(data.test, TEST_WINDOW)
    figures: dict[str, Any] = {
        "bits": baselines(*(windows(x, TEST_WINDOW) for x in (data.train, data.validation)), test)
    }
    mean = np.asarray(spectra(windows(data.train, WINDOW), data.levels)).mean((0, 1))
    start = time.perf_counter()
    teacher = pf.load(options.teacher) if options.teacher else fit_teacher(data, mean, options)
    figures["teacher_seconds"] = time.perf_counter() - start
    pf.save(options.out / "teacher.safetensors", teacher, overwrite=True)
    long = pf.of_length(pf.Dequantised(teacher, data.levels, n_draws=1), TEST_WINDOW)
    test_contexts = visible(np.asarray(spectra(test, data.levels)))
    for name, contexts in {
        "teacher": masked(test_contexts.shape, mean),
        "teacher, given the frames": test_contexts,
    }.items():
        figures["bits"][name], figures["bits_error"] = bits(long, test, contexts)
    print(json.dumps(figures, indent=1), flush=True)

    student, fidelity, figures["student_seconds"] = distill_student(teacher, data, options)
    pf.save(options.out / "student.safetensors", student, overwrite=True)
    figures["kl_per_sample"] = [value / WINDOW for value in fidelity.history.reverse_kl]
    figures["kl"], figures["kl_error"] = fidelity.reverse_kl / WINDOW, fidelity.reverse_kl_error / WINDOW
    draw_history(options.out / "history.png", figures["kl_per_sample"])

    first, second = pf.of_length(teacher, TEST_WINDOW), pf.of_length(student, TEST_WINDOW)
    figures["seconds"] = seconds({
        "cached": lambda: first.sample((), key=0, context=test_contexts[0]),
        "student": lambda: second.sample((), key=0, context=test_contexts[0]),
        "a pass of the teacher": lambda: first.log_prob(test[0], test_contexts[0]),
    })  # fmt: skip
    listening = windows(data.test, LONG_WINDOW)[:3]
    frames = visible(np.asarray(spectra(listening, data.levels)))
    sounds = {"real": listening}
    for name, flow in {"teacher": teacher, "student": student}.items():
        x = np.asarray(pf.of_length(flow, LONG_WINDOW).sample((), key=1, context=frames))
        sounds[name] = np.clip(np.floor(x), 0, data.levels - 1).astype(int)
    for name, rows in sounds.items():
        for index, row in enumerate(rows):
            write_wave(options.out / f"{name}-{index}.wav", Sound(row, data.levels, data.rate))
    draw_spectrograms(options.out / "spectrograms.png", sounds, data.rate, data.levels)
    figures["settings"] = {name: str(value) for name, value in vars(options).items() if name not in ("folder", "out")}
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (options.out / "figures.md").write_text(f"# Speech\n\n{report(figures)}\n")
    print(report(figures))


def report(figures: dict[str, Any]) -> str:
    """The results as a Markdown page."""
    lines = ["| bits per sample, held-out speech | |", "| --- | --- |"]
    lines += [f"| {name} | {value:.3f} |" for name, value in figures["bits"].items()]
    cached, student, one_pass = figures["seconds"].values()
    naive = TEST_WINDOW * one_pass
    return "\n".join([
        *lines, "",
        f"Standard error of the teacher's {figures['bits_error']:.3f}. KL(student | teacher) "
        f"{figures['kl_per_sample'][0]:.3f} nats per sample after the first fiftieth of the steps, "
        f"{figures['kl']:.3f} +- {figures['kl_error']:.3f} at the end.",
        f"{TEST_WINDOW:,} samples: naive {naive:.1f} s ({TEST_WINDOW:,} passes of the teacher, one measured), cached "
        f"{cached:.3f} s ({naive / cached:.0f} times faster), student "
        f"{student:.4f} s ({cached / student:.0f} times faster again).",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
