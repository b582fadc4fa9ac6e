"""Six real tables, each by `pushforward compare` as it comes: five folds, the flow chosen on validation rows.

    python benchmarks/quality/tables.py                 # all six
    python benchmarks/quality/tables.py --only wine     # only this one; other results stay
    python benchmarks/quality/tables.py --write-tables DIR    # only write the CSV files, to run the command by hand

Tables: scikit-learn's wine (178 x 13), breast cancer (569 x 30), diabetes (442 x 10), iris (150 x 4, every column
declared rounded to 0.1), digits (1,797 images of 8 x 8 by their first 20 principal components), and every fifth of the
50,000 minutes of household power. Results go to `benchmarks/results/tables.json` and `.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn import datasets
from sklearn.decomposition import PCA

from pushforward.datasets import household_power

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMAND = "python benchmarks/quality/tables.py"
EVERY = 5  # of the household's minutes


def bunch(load: Any) -> tuple[np.ndarray, list[str]]:
    boards = load()
    return boards.data, [str(name) for name in boards.feature_names]


def digits() -> tuple[np.ndarray, list[str]]:
    return PCA(20, random_state=0).fit_transform(datasets.load_digits().data), [f"component {i + 1}" for i in range(20)]


def power() -> tuple[np.ndarray, list[str]]:
    data = household_power()
    return np.concatenate([data.train, data.validation, data.test])[::EVERY], list(data.columns)


TABLES = {
    "wine": lambda: bunch(datasets.load_wine),
    "breast_cancer": lambda: bunch(datasets.load_breast_cancer),
    "diabetes": lambda: bunch(datasets.load_diabetes),
    "iris": lambda: bunch(datasets.load_iris),
    "digits": digits,
    "power": power,
}


def arguments(name: str, columns: list[str]) -> list[str]:
    """What is declared: the rounding of iris, which its makers measured to a millimetre."""
    declared = [part for column in columns for part in ("--column", f"{column}=rounded:0.1")]
    return [f"{name}.csv", *(declared if name == "iris" else [])]


def write_tables(folder: Path) -> dict[str, list[str]]:
    columns = {}
    for name, make in TABLES.items():
        values, columns[name] = make()
        pl.DataFrame(values, schema=columns[name], orient="row").write_csv(folder / f"{name}.csv")
    return columns


def run(name: str, columns: list[str], folder: Path) -> dict[str, Any]:
    command_line = ["compare", *arguments(name, columns), "-o", f"{name}.json", "--quiet", "--overwrite"]
    subprocess.run([sys.executable, "-m", "pushforward", *command_line], cwd=folder, check=True)
    load = os.getloadavg()[0]
    return {
        "command": " ".join(["pushforward", *command_line]),
        "load": load,
        **json.loads((folder / f"{name}.json").read_text()),
    }


def page(boards: dict[str, Any]) -> str:
    names = ["Gaussian", "Gaussian mixture", "Kernel density"]
    lines = [
        "# Real tables" if len(boards) == len(TABLES) else f"# Real tables ({len(boards)} of {len(TABLES)} measured)",
        "",
        f"Made by `{COMMAND}`, which runs `pushforward compare` on each with default settings.",
        "",
        "Test log-likelihood in nats per row, mean of five folds, +- standard error over all test rows; in each fold "
        "its validation rows choose the flow. Margin: the flows so chosen less the better of Gaussian and mixture. "
        "Bar: at least -0.3, above 0 on four.",
        "",
        "| table | chosen flows | their log-likelihoods | " + " | ".join(names) + " | margin |",
        "|" + " --- |" * 7,
    ]
    for name, board in boards.items():
        entries = {entry["name"]: entry for entry in board["entries"]}
        cells = [_nats(entries[other]) for other in names]
        picks = ", ".join(f"{pick} {board['picks'].count(pick)}" for pick in sorted(set(board["picks"])))
        cells = [name, picks, f"{board['chosen_nats']:.3f}", *cells, f"{board['margin']:+.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "All models; seconds of a fold (compilation included), of a machine that others may have used too.",
        "",
    ]
    lines += ["| table | model | validation | test | fit s | score s | parameters | peak MB |", "|" + " --- |" * 8]
    for name, board in boards.items():
        for entry in board["entries"]:
            validation = "-" if entry["validation_nats"] is None else f"{entry['validation_nats']:.3f}"
            size = "-" if entry["parameters"] is None else f"{entry['parameters']:,}"
            peak = "-" if entry["peak_megabytes"] is None else f"{entry['peak_megabytes']:,.0f}"
            lines.append(
                f"| {name} | {entry['name']} | {validation} | {_nats(entry)} | {entry['fit_seconds']:.1f} | "
                f"{entry['score_seconds']:.2f} | {size} | {peak} |"
            )
    lines += ["", "Rounded columns (iris by declaration; of diabetes `sex`, detected) count with their masses."]
    return "\n".join(lines) + "\n"


def _nats(entry: dict[str, Any]) -> str:
    error = entry["standard_error"]
    return f"{entry['test_nats']:.3f}" + ("" if error is None else f" +- {error:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(TABLES))
    parser.add_argument("--write-tables", type=Path)
    options = parser.parse_args()
    if options.write_tables:
        write_tables(options.write_tables)
        return
    target = RESULTS / "tables.json"
    boards = json.loads(target.read_text())["tables"] if target.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        columns = write_tables(Path(folder))
        for name in TABLES if options.only is None else (options.only,):
            boards[name] = run(name, columns[name], Path(folder))
            print(name, boards[name]["chosen"], f"{boards[name]['margin']:+.3f}", flush=True)
            ordered = {name: boards[name] for name in TABLES if name in boards}
            target.write_text(json.dumps({"command": COMMAND, "tables": ordered}, indent=1) + "\n")
            (RESULTS / "tables.md").write_text(page(ordered))


if __name__ == "__main__":
    main()
