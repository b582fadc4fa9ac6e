"""Teacher and student on speech: a WaveNet learns to score it, a parallel WaveNet learns from it to speak at once.

    python examples/speech.py --out speech                    # what `make audio` runs
    python examples/speech.py --out speech --steps 20000 --student-steps 8000 --width 48

The teacher is fitted to windows of 120 ms: p(window | frames), frames being the spectrum of every 20 ms in 20 bands.
Half of the windows are shown without them, so one teacher says what speech costs either way. The student is distilled
by KL(student | teacher) with a penalty on the spectra of its samples. Both are then stretched: to half a second to be
scored and timed, to two seconds to be heard. The data are the prompts of the Debian package
asterisk-core-sounds-en-wav (8 kHz, 16 bits).
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
from spectra import BANDS, draw_course, draw_spectrograms, spectra, windows

import pushforward as pf
from pushforward.datasets import Sound, speech, write_wave
from pushforward.datasets.speech import SPEECH_FOLDER

WINDOW, SCORED, HEARD = 6 * FRAME, 25 * FRAME, 100 * FRAME  # places a window: to learn from, to score, to listen to
COMPANDING, ORDER = 8.0, 32
PENALTY = 0.1  # nats a place for a band that is off by a factor of e in power


def fit_teacher(data: Any, mean: np.ndarray, options: argparse.Namespace) -> pf.Flow:
    """A density of real numbers, fitted to levels by way of noise; every other window hides its frames."""
    train, held = windows(data.train, WINDOW), windows(data.validation, WINDOW)
    held = held[np.random.default_rng(0).permutation(len(held))[:256]]
    contexts = given(np.asarray(spectra(train, data.levels)))
    contexts[1::2] = blind(contexts[1::2].shape, mean)
    held_contexts = given(np.asarray(spectra(held, data.levels)))
    held_contexts[1::2] = blind(held_contexts[1::2].shape, mean)
    flow = pf.wavenet(
        WINDOW, width=options.width, depth=20, n_components=4, prediction=ORDER, companding=COMPANDING,
        context_dim=BANDS + 1, n_frames=WINDOW // FRAME, key=options.seed,
    )  # fmt: skip
    epochs = max(1, round(options.steps / (len(train) // options.batch)))
    teacher, _ = pf.fit(
        pf.Dequantised(flow, data.levels, n_draws=1), train, context=contexts, validation=(held, held_contexts),
        key=options.seed, batch_size=options.batch, max_epochs=epochs, learning_rate=4e-3, ema=0.995,
    )  # fmt: skip
    return teacher.flow


def given(seen: np.ndarray) -> np.ndarray:
    """Frames that are shown: their bands, and a one."""
    return np.concatenate([seen, np.ones((*seen.shape[:2], 1))], -1)


def blind(shape: tuple[int, ...], mean: np.ndarray) -> np.ndarray:
    """Frames that are not shown: the mean of all, and a zero."""
    return np.broadcast_to(np.append(mean, 0.0), shape)


def teach_student(
    teacher: pf.Flow, data: Any, options: argparse.Namespace
) -> tuple[pf.Flow, pf.diagnostics.Fidelity, float]:
    contexts = given(np.asarray(spectra(windows(data.train, WINDOW), data.levels)))
    student = pf.parallel_wavenet(
        WINDOW, width=options.student_width, depth=options.student_depth, n_layers=2, prediction=ORDER,
        context_dim=BANDS + 1, n_frames=WINDOW // FRAME, key=options.seed + 1,
    )  # fmt: skip

    def penalty(x: jax.Array, frames: jax.Array) -> jax.Array:
        return PENALTY * WINDOW * jnp.mean((spectra(x, data.levels) - frames[..., :BANDS]) ** 2)

    began = time.perf_counter()
    student, found = pf.distill(
        teacher, student, context=contexts, key=options.seed, steps=options.student_steps, forward=0, annealing=0,
        n_next=4, penalty=penalty, batch_size=options.batch, learning_rate=6e-3, n_fidelity=256,
        tolerance=float(WINDOW),  # a nat a place
    )  # fmt: skip
    return student, found, time.perf_counter() - began


def bits(teacher: Any, rows: np.ndarray, contexts: np.ndarray) -> tuple[float, float]:
    """Bits a sample of whole numbers by the dequantised density, and the standard error over the windows."""
    scores = [np.asarray(teacher.log_prob(rows[i : i + 16], contexts[i : i + 16])) for i in range(0, len(rows), 16)]
    each = pf.bits_per_dim(np.concatenate(scores).astype(np.float64), teacher.shape)
    return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def seconds(calls: dict[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Medians, compilation aside; all calls in turn, so that a busy moment meets all of them."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(times)) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=SPEECH_FOLDER, help="of wave files, 8 kHz")
    parser.add_argument("--out", type=Path, default=Path("speech"), help="folder for sounds, pictures and figures")
    parser.add_argument("--steps", type=int, default=3750, help="of the teacher")
    parser.add_argument("--teacher", type=Path, help="a teacher.safetensors of before, instead of fitting one")
    parser.add_argument("--student-steps", type=int, default=2500)
    parser.add_argument("--width", type=int, default=32, help="channels of the teacher")
    parser.add_argument("--student-width", type=int, default=16)
    parser.add_argument("--student-depth", type=int, default=6, help="dilated layers in each of its two")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = speech(options.folder)

    scored = windows(data.test, SCORED)
    figures: dict[str, Any] = {"bits": baselines(*(windows(x, SCORED) for x in (data.train, data.validation)), scored)}
    mean = np.asarray(spectra(windows(data.train, WINDOW), data.levels)).mean((0, 1))
    began = time.perf_counter()
    teacher = pf.load(options.teacher) if options.teacher else fit_teacher(data, mean, options)
    figures["teacher_seconds"] = time.perf_counter() - began
    pf.save(options.out / "teacher.safetensors", teacher, overwrite=True)
    long = pf.of_length(pf.Dequantised(teacher, data.levels, n_draws=1), SCORED)
    shown = given(np.asarray(spectra(scored, data.levels)))
    for name, contexts in {"teacher": blind(shown.shape, mean), "teacher, given the frames": shown}.items():
        figures["bits"][name], figures["bits_error"] = bits(long, scored, contexts)
    print(json.dumps(figures, indent=1), flush=True)

    student, found, figures["student_seconds"] = teach_student(teacher, data, options)
    pf.save(options.out / "student.safetensors", student, overwrite=True)
    figures["kl_a_place"] = [value / WINDOW for value in found.history.reverse_kl]
    figures["kl"], figures["kl_error"] = found.reverse_kl / WINDOW, found.reverse_kl_error / WINDOW
    draw_course(options.out / "course.png", figures["kl_a_place"])

    first, second = pf.of_length(teacher, SCORED), pf.of_length(student, SCORED)
    figures["seconds"] = seconds({
        "cached": lambda: first.sample((), key=0, context=shown[0]),
        "student": lambda: second.sample((), key=0, context=shown[0]),
        "a pass of the teacher": lambda: first.log_prob(scored[0], shown[0]),
    })  # fmt: skip
    heard = windows(data.test, HEARD)[:3]
    frames = given(np.asarray(spectra(heard, data.levels)))
    sounds = {"real": heard}
    for name, flow in {"teacher": teacher, "student": student}.items():
        x = np.asarray(pf.of_length(flow, HEARD).sample((), key=1, context=frames))
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
    """The figures as a page."""
    lines = ["| bits a sample, held-out speech | |", "| --- | --- |"]
    lines += [f"| {name} | {value:.3f} |" for name, value in figures["bits"].items()]
    cached, student, one_pass = figures["seconds"].values()
    naive = SCORED * one_pass
    return "\n".join([
        *lines, "",
        f"Standard error of the teacher's {figures['bits_error']:.3f}. KL(student | teacher) "
        f"{figures['kl_a_place'][0]:.3f} nats a place after the first fiftieth of the steps, "
        f"{figures['kl']:.3f} +- {figures['kl_error']:.3f} at the end.",
        f"{SCORED:,} samples: naive {naive:.1f} s ({SCORED:,} passes of the teacher, one measured), cached "
        f"{cached:.3f} s ({naive / cached:.0f} times faster), student "
        f"{student:.4f} s ({cached / student:.0f} times faster again).",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
