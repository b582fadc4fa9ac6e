"""Stored outputs of pages: one folder for each page, with outputs.json and PNG files.

Those of quick pages are a cache that git ignores, valid for one state of the page's code and of the package. Those of
slow pages are committed in docs/outputs, valid for one state of the page's code.
"""

import datetime
import functools
import html
import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from docs_build.pages import DOCS, FENCE, ROOT, RUN, Page, digest

CACHE = ROOT / ".docs_cache"
MARKUP = str.maketrans({mark: f"&#{ord(mark)};" for mark in "`~["})  # what Markdown would read in printed text
COMMITTED = DOCS / "outputs"


@dataclass
class Output:
    """What a block printed (`text`) and drew (`images`, PNG of twice the size at which they are shown)."""

    text: str = ""
    images: list[bytes] = field(default_factory=list)


@dataclass
class Run:
    """The outputs of the blocks of a page, and the seconds it took, with those of the processor."""

    outputs: list[Output]
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Stored:
    """Outputs of a page from an earlier run; `date` is the day of the run."""

    outputs: list[Output]
    seconds: float
    date: str


def folder_of(page: Page) -> Path:
    return (COMMITTED if page.slow else CACHE) / page.name


def load(page: Page) -> Stored | None:
    """The stored outputs of a page, or None if there are none for its present code, or damaged ones."""
    folder = folder_of(page)
    try:
        stored = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
        if stored["hash"] != hash_of(page):
            return None
        outputs = [
            Output(block["text"], [(folder / name).read_bytes() for name in block["images"]])
            for block in stored["blocks"]
        ]
    except (OSError, ValueError, KeyError):
        return None
    return Stored(outputs, stored["seconds"], stored["date"])


def save(page: Page, run: Run) -> None:
    folder = folder_of(page)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blocks = []
    for number, output in enumerate(run.outputs):
        names = [f"{number}_{k}.png" for k in range(len(output.images))]
        for name, image in zip(names, output.images, strict=True):
            (folder / name).write_bytes(image)
        blocks.append({"text": output.text, "images": names})
    date = datetime.date.today().isoformat()
    record = {"hash": hash_of(page), "date": date, "seconds": round(run.seconds, 1), "blocks": blocks}
    unfinished = folder / "unfinished.json"
    unfinished.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / "outputs.json")


def orphans(pages: Iterable[Page]) -> list[Path]:
    """Folders of committed outputs without a slow page."""
    used = {folder_of(page) for page in pages if page.slow}
    return sorted(path.parent for path in COMMITTED.rglob("outputs.json") if path.parent not in used)


def hash_of(page: Page) -> str:
    return page.code_hash if page.slow else digest(f"{page.code_hash}{page.as_compiled}{_package_hash()}".encode())


@functools.cache
def _package_hash() -> str:
    """Of all files of the package, of the code that runs pages, and of the versions of what computes and draws."""
    runner = [Path(__file__).parent / name for name in ("pages.py", "runner.py", "kernel_setup.py")]
    package = sorted(path for path in (ROOT / "src").rglob("*") if path.is_file() and path.suffix != ".pyc")
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "matplotlib")]
    files = (*runner, ROOT / "tools" / "fast_compilation.py", *package)
    return digest("".join([*versions, *(digest(path.read_bytes()) for path in files)]).encode())


def insert(markdown: str, page: Page, stored: Stored, image_url: str) -> str:
    """The page with the output of each block below it. `image_url` is the folder of its images, with a slash."""
    numbers = iter(range(len(page.blocks)))

    def with_output(fence: re.Match[str]) -> str:
        if fence["language"] not in RUN:
            return fence[0]
        k = next(numbers)
        return f"{fence[0]}\n" + _output(stored.outputs[k], page.blocks[k].alt, f"{image_url}{k}_")

    text = FENCE.sub(with_output, markdown)
    if page.slow:
        note = f'\n\n<p class="page-run">Outputs of {stored.date}; this page runs for {_minutes(stored.seconds)}.</p>\n'
        text = re.sub(r"(?m)^# .*$", lambda title: title[0] + note, text, count=1)
    return text


def _output(output: Output, alt: str, prefix: str) -> str:
    parts = []
    if output.text:
        text = html.escape(output.text, quote=False).translate(MARKUP)
        parts.append(f'<pre class="page-output" tabindex="0"><code>{text}</code></pre>')
    for k, image in enumerate(output.images):
        width, height = (int.from_bytes(image[i : i + 4]) // 2 for i in (16, 20))  # of the PNG header
        size = f'width="{width}" height="{height}"'
        caption = f"<figcaption>{html.escape(alt)}</figcaption>" if alt and k == len(output.images) - 1 else ""
        source = f'<img src="{prefix}{k}.png" {size} alt="{html.escape(alt)}" loading="lazy">'
        parts.append(f'<figure class="page-figure">{source}{caption}</figure>')
    return "".join(f"\n{part}\n" for part in parts)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
