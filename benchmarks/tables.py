"""Results as Markdown. Every number comes from the JSON file of the same name, rounded."""

from typing import Any


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _range(value: dict, digits: int = 2) -> str:
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f} to {value['max']:.{digits}f})"


def _verdict(value: float | None, bar: float | None, reach: float | None, at_most: bool = False) -> str:
    if bar is None or reach is None:
        return ""
    sign = "<=" if at_most else ">="
    if value is None:
        return f"{sign} {bar:g}: no figure"
    met = [value <= limit if at_most else value >= limit for limit in (bar, reach)]
    word = "reached" if met[1] else "met" if met[0] else "MISSED"
    return f"{sign} {bar:g} (reach {reach:g}): {word}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def page(title: str, result: dict, body: list[str]) -> str:
    """One page: title, how it was made, body, what failed."""
    machine = result["machine"]
    accelerator = f"{machine['accelerator']}, " if "accelerator" in machine else ""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    lines = [
        f"# {title}",
        "",
        f"Made by `{result['command']}` on {result['date']}: {accelerator}{machine['cores']} cores, "
        f"Python {machine['python']}; load before the run {machine['load_before']:.2f}.",
        f"Versions: {versions}.",
        "",
        *([f"**{result['note']}**", ""] if result.get("note") else []),
        *body,
    ]
    failures = result["failures"]
    lines += ["## What failed", ""]
    lines += [f"- {one['library']}, {one['where']}: {one['reason']}" for one in failures] or ["Nothing."]
    return "\n".join(lines) + "\n"


def speed(result: dict) -> list[str]:
    """Ratios first, then the times of everyone."""
    ratios, times, own = [], [], []
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["libraries"]))
    for row in result["rows"]:
        what = [row["workload"], row["operation"]]
        ratio = row.get("ratio")
        middle = ratio["median"] if ratio else None
        if "denominator" in row:
            both = (row["libraries"]["pushforward"], row["denominator"])
            cells = [*(_milliseconds(entry["seconds"]["median"]) for entry in both), _range(ratio)]
            own.append([*what, *cells, _verdict(middle, row["bar"], row["reach"], row["at_most"])])
            continue
        shown = _range(ratio) if ratio else "no figure"
        ratios.append([*what, row.get("best_peer", ""), shown, _verdict(middle, row["bar"], row["reach"])])
        cells = []
        for name in names:
            entry = row["libraries"].get(name)
            cells.append("" if entry is None else _milliseconds(entry["seconds"]["median"]))
        times.append([*what, *cells])
    first = [
        [row["workload"], row["operation"]]
        + [f"{row['libraries'][name]['first_call_seconds']:.2f}" if name in row["libraries"] else "" for name in names]
        for row in result["rows"]
        # Inside the caller's jit FlowJAX runs the program that its log_prob compiled: no separate first call.
        if "denominator" not in row and row["operation"] != "log_prob_in_jit"
    ]
    return [
        f"Median over {result['rounds']} rounds; every library had its turn in each round. "
        "A ratio is formed within a round; in brackets the smallest and the largest. "
        "A library that takes more than 2 s a call had its turn in three rounds only.",
        "",
        "## Best peer / pushforward",
        "",
        *_table(["workload", "operation", "best peer", "ratio", "bar"], ratios),
        "## Times, ms",
        "",
        *_table(["workload", "operation", *names], times),
        "## Our own times compared",
        "",
        *_table(["workload", "what / what", "above, ms", "below, ms", "ratio", "bar"], own),
        "## First call (compilation included), s",
        "",
        *_table(["workload", "operation", *names], first),
    ]


def residual(result: dict) -> list[str]:
    """Speed at equal settings, errors of the inverses, and the inverse of a flow that both libraries hold."""
    errors = [
        [name, ", ".join(f"{what} {value:.1e}" for what, value in by_operation.items())]
        for name, by_operation in result["inverse_errors"].items()
    ]
    trained = []
    for row in result["trained"]:
        fitted = f"{row['fitted']['validation']:.2f} ({row['fitted']['gaussian']:.2f})"
        for label, entry in row["times"].items():
            name, operation = label.split(": ")
            ratio = _range(row["ratios"][label]) if label in row["ratios"] else ""
            error = f"{row['errors'][name][operation]:.1e}"
            time = _milliseconds(entry["seconds"]["median"])
            trained.append([row["workload"], fitted, f"{row['fitted']['steepest']:.3f}", label, time, error, ratio])
    return [
        *speed(result),
        "## Greatest error of a coordinate after `inverse` and back, untrained flows, float32",
        "",
        *_table(["library", "error"], errors),
        "## The inverse of one trained flow, the same numbers in both libraries",
        "",
        "`inverse` of normflows stops at its own tolerance, `inverse_fine` at steps of 1e-6. Steepest: the greatest "
        "norm of a block's Jacobian where the data come by; plain repetition gains that factor a turn.",
        "",
        *_table(
            [
                "flow",
                "validation log-likelihood (Gaussian)",
                "steepest",
                "operation",
                "ms",
                "greatest error",
                "time / ours",
            ],
            trained,
        ),
    ]


def fit(result: dict) -> list[str]:
    """Times to the target by data set."""
    rules = result["rules"]
    lines = [
        f"{rules['seeds']} seeds, at most {rules['budget_seconds']:g} s of training a peer's run. Seconds from the "
        "first fit call of a fresh process to the target; target = best peer at its default, less "
        f"{rules['slack']} nat. Held-out log-likelihoods are those of standardised data. FlowJAX ends a run by its own "
        "rule, ours by that of `fit`. The loop of zuko's tutorial has none: here its run ends when its best held-out "
        "value is 15 s old.",
        "",
    ]
    for row in result["rows"]:
        table = []
        for entry in row["entries"]:
            by_seed = ["never" if medians is None else f"{medians:.1f}" for medians in entry["seconds_to_target"]]
            middle = entry["median_seconds"]
            shown = "not reached" if middle is None else f"{middle:.2f}"
            ratios = entry["ratios_to_ours"]
            span = f"{min(ratios):.1f} to {max(ratios):.1f}" if ratios else ""
            nats = f"{entry['best_held_out']:.3f}"
            table.append([entry["library"], entry["learning_rate"], nats, ", ".join(by_seed), shown, span])
        header = [
            "library",
            "learning rate",
            "best held-out log-likelihood",
            "s by seed",
            "median s",
            "ratio to ours, by seed",
        ]
        n_train, n_held_out = rules["n_rows"][row["data"]]
        heading = (
            f"## {row['data']}: target {row['target']:.3f} nats, {n_train:,} rows to train on, {n_held_out:,} held out"
        )
        lines += [heading, "", *_table(header, table)]
        for kind, description in (
            ("default", "at its default"),
            ("best_of_three", "at its best of three learning rates"),
        ):
            best = row[kind]
            if best is None:
                lines += [f"No peer reached the target {description} in the median.", ""]
                continue
            rate = "" if best["learning_rate"] == "default" else f" (learning rate {best['learning_rate']})"
            verdict = _verdict(best["ratio"], result["bar"][0], result["bar"][1])
            figure = "no figure" if best["ratio"] is None else f"{best['ratio']:.2f}"
            lines += [f"Best peer {description}: {best['library']}{rate}; its time / ours = {figure}; {verdict}.", ""]
    return lines


def compile_times(result: dict) -> list[str]:
    """First calls of the recipes."""
    rows = []
    for row in result["rows"]:
        cells = [f"{row['construct']['median']:.2f}"]
        firsts = [row[operation]["first"] for operation in ("log_prob", "training_step", "sample")]
        cells += [_range(first) if result["rounds"] > 1 else f"{first['median']:.2f}" for first in firsts]
        verdict = _verdict(row["slowest_first"], row["bar"], row["reach"], at_most=True)
        rows.append([row["recipe"], " x ".join(map(str, row["shape"])), str(row["batch"]), *cells, verdict])
    header = ["recipe", "shape", "batch", "make the flow", "log_prob", "training_step", "sample", "slowest first call"]
    counts = result["row_counts"]
    if counts is None:
        row_count_line = "Row counts: no figure."
    else:
        parts = ", then ".join(f"{n} rows compiled {count} programs" for n, count in counts["programs"].items())
        row_count_line = f"Scoring {parts}: {'as it should be' if counts['ok'] else 'MISSED'}."
    several = f", median of {result['rounds']} rounds (smallest to largest)" if result["rounds"] > 1 else ", once"
    return [
        f"Compilation and first call in seconds, each in a fresh process{several}, no stored programs. Steps of images "
        "are compiled with the options of `fit`.",
        "",
        *_table(header, rows),
        row_count_line,
        "",
    ]


def growth(result: dict) -> list[str]:
    """Times over the number of dimensions, and the exponents."""
    names = list(result["exponents"])
    rows = []
    for row in result["rows"]:
        medians = {name: entry["seconds"]["median"] for name, entry in row["libraries"].items()}
        cells = [_milliseconds(medians[name]) if name in medians else "" for name in names]
        ratio = _range(row["ratio"]) if "ratio" in row else ""
        rows.append([str(row["dim"]), str(row["width"]), *cells, row.get("best_peer", ""), ratio])
    fitted = [_range(value) if value else "" for value in result["exponents"].values()]
    rows.append([f"exponent, D >= {result['fitted_from']}", "", *fitted, "", ""])
    first = [
        [str(row["dim"])]
        + [f"{row['libraries'][name]['first_call_seconds']:.2f}" if name in row["libraries"] else "" for name in names]
        for row in result["rows"]
    ]
    settings = result["settings"]
    return [
        f"Sampling a masked autoregressive flow (affine), {settings['batch']} samples: {settings['n_layers']} layers, "
        f"{settings['depth']} hidden layers each, width 2 D; so one pass takes O(D^2) a sample and D passes take "
        f"O(D^3). Median over {result['rounds']} rounds (three where a call takes more than 2 s), in ms. "
        "Exponent: least squares of log time over log D, at least three sizes; in brackets the smallest and the "
        "largest of a round.",
        "",
        *_table(["D", "width", *names, "best peer", "best peer / pushforward"], rows),
        "## First call (compilation included), s",
        "",
        *_table(["D", *names], first),
    ]


def counts(result: dict) -> list[str]:
    """Two tables: what a call launches and moves, and what its programs do; one number where both commits agree."""
    rows = result["rows"]
    calls, programs = [], []
    for row in rows:
        what, both = [row["workload"], row["operation"]], (row["before"], row["after"])
        launched = [{"launched": len(side["launched"])} for side in both]
        moved = [_change(both, key) for key in _MOVED]
        calls.append([*what, _change(launched, "launched"), *moved])
        inside = [side["programs"] for side in both]
        programs.append([*what, *(_change(inside, key, unit) for key, _, unit in _COUNTED)])
    return [
        f"Before: commit {result['commits']['before']}; after: {result['commits']['after']}; one number where both "
        "agree. Counted on a CPU that takes the way of a GPU; no time is measured.",
        "",
        "## A call from Python",
        "",
        "Programs launched, arrays sent to the device and read back in one call, after a first one that compiles. "
        "Rows and samples stay on the device unless said otherwise; the key of samples is an integer.",
        "",
        *_table(["workload", "call", "programs", "sent", "bytes sent", "read", "bytes read"], calls),
        "## Its programs",
        "",
        "Operations that run, those in loops as often as they do, before a compiler joins them. In sequence: products "
        "of which each waits for the one before. Products, MB: their operands and results, the least they move. "
        "Slices: those at a computed position. Branches: chosen by a number on the device, for which XLA may "
        "stop and ask it. Steps: turns of all loops.",
        "",
        *_table(["workload", "call", *(title for _, title, _ in _COUNTED)], programs),
    ]


_MOVED = ("to_device", "to_device_bytes", "to_host", "to_host_bytes")
# Key in the results, heading, unit.
_COUNTED = (
    ("products", "products", 1), ("products_in_sequence", "in sequence", 1), ("flops", "MFLOP", 1e6),
    ("product_bytes", "products, MB", 1e6), ("argument_bytes", "arguments and results, MB", 1e6),
    ("elementwise", "elementwise", 1), ("copies", "copies", 1), ("gathers", "gathers", 1),
    ("dynamic_slices", "slices", 1), ("reductions", "reductions", 1), ("other", "other", 1),
    ("branches", "branches", 1), ("loops", "loops", 1), ("loop_steps", "steps", 1),
)  # fmt: skip


def _change(both: Any, key: str, unit: float = 1) -> str:
    before, after = (f"{side[key] / unit:,.3g}" if unit > 1 else f"{side[key]:,}" for side in both)
    return after if before == after else f"{before} -> {after}"
