"""Runs pages in Jupyter kernels."""

import asyncio
import base64
import functools
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import nbformat.v4
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from docs_build.outputs import CACHE, Output, Run
from docs_build.pages import ROOT, Block, Page

sys.path.insert(0, str(ROOT / "benchmarks"))
import environments  # of the benchmarks, which are no package
import fast_compilation

WORKERS = 2
SECONDS_OF_A_BLOCK, SECONDS_OF_A_SLOW_BLOCK = 300, 3600
SETUP = (Path(__file__).parent / "kernel_setup.py").read_text(encoding="utf-8")
END = "get_ipython().end_of_page()"  # of kernel_setup
SHELL = "set -euo pipefail; unset FORCE_COLOR CLICOLOR_FORCE"  # which the kernel sets: they force progress bars too
CLOCK = "import os; print(sum(os.times()[:4]))"  # processor time of the kernel and of what it started
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# What the command line reports while it works: "scoring 100 rows ...", "scoring 100 rows: 3 s", a bar.
PROGRESS = re.compile(r"^(.*(\.\.\.|: [\d.]+ (s|min))|.*━.*)(\n|\Z)", re.MULTILINE)


class PageError(Exception):
    """A block of a page failed."""

    def __init__(self, page: Page, message: str) -> None:
        super().__init__(message)
        self.page = page


async def _shut_down(manager: AsyncKernelManager) -> None:
    if manager.has_kernel:
        await manager.shutdown_kernel(now=True)


def describe(page: Page, run: Run) -> str:
    """One line for the log of a build."""
    return f"{run.seconds:6.1f} s ({run.processor_seconds:.1f} s of the processor)  {page.source}"


def run_pages(pages: Iterable[Page], finished: Callable[[Page, Run], None]) -> list[PageError]:
    """Run pages, two at a time; calls `finished` after each and returns the errors of those that failed.

    A kernel runs many pages, so that imports and programs are shared: those that compile fast, then the others.
    """
    queue = sorted(pages, key=lambda page: not page.as_compiled)  # the last one is run first
    errors: list[PageError] = []

    async def work() -> None:
        manager, as_compiled = AsyncKernelManager(), False
        try:
            while queue:
                page = queue.pop()
                if page.as_compiled != as_compiled:
                    await _shut_down(manager)
                    manager, as_compiled = AsyncKernelManager(), page.as_compiled
                try:
                    finished(page, await run_page(page, manager))
                except PageError as error:
                    errors.append(error)
                    await _shut_down(manager)  # it may be dead
                    manager = AsyncKernelManager()
        finally:
            await _shut_down(manager)

    async def all_workers() -> None:
        await asyncio.gather(*(work() for _ in range(min(WORKERS, len(queue)))))

    _in_thread(all_workers())
    return errors


def _in_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run in a thread, because in the main one nbclient would catch Ctrl-C. Kernels end with this process."""
    future: Future[None] = Future()

    def target() -> None:
        try:
            future.set_result(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 (raised again by `result`)
            future.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    future.result()


async def run_page(page: Page, manager: AsyncKernelManager) -> Run:
    """Run the blocks of a page in a kernel, which is started if it is not running."""
    for name in {block.env for block in page.blocks if block.env}:
        if failed := environments.build(name):
            raise PageError(page, f"{page.source}: the environment {name!r} of its blocks could not be made: {failed}")
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        setup = f"import os\nos.chdir({folder!r})\n{SETUP}\n{CLOCK}"
        cells = [nbformat.v4.new_code_cell(source) for source in (setup, *map(_source, page.blocks), f"{END}\n{CLOCK}")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = NotebookClient(
            notebook,
            km=manager,
            kernel_name="python3",
            timeout=SECONDS_OF_A_SLOW_BLOCK if page.slow else SECONDS_OF_A_BLOCK,
            store_widget_state=False,
            startup_timeout=300,
            iopub_timeout=120,
        )
        if not manager.has_kernel:
            await manager.start_kernel(
                env=_environment(page.as_compiled), cwd=folder, extra_arguments=["--log-level=ERROR"]
            )
        start = time.perf_counter()
        try:
            await client.async_execute(reset_kc=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise PageError(page, _message(page, cells, error)) from None
        seconds = time.perf_counter() - start
        started, ended = (float(cell.outputs[-1].text) for cell in (cells[0], cells[-1]))
        return Run([_output(cell, folder) for cell in cells[1:-1]], seconds, ended - started)


def _source(block: Block) -> str:
    if block.env:
        return f"%%script env --unset=MPLBACKEND {environments.python_of(block.env)} -\n{block.code}"
    return block.code if block.language == "python" else f"%%bash\n{SHELL}\n{block.code}"


@functools.cache
def _environment(as_compiled: bool) -> dict[str, str]:
    """No accelerator, so that outputs are the same everywhere; compiled programs are stored for the next build."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    programs = {
        "JAX_COMPILATION_CACHE_DIR": str(CACHE / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    if not as_compiled:
        programs |= fast_compilation.settings()
    return os.environ | programs | {"PATH": path, "JAX_PLATFORMS": "cpu", "COLUMNS": "90", "NO_COLOR": "1"}


def _message(page: Page, cells: list[Any], error: Exception) -> str:
    """The page, the block, the line of the file, and what was raised there."""
    number = max((i for i, cell in enumerate(cells) if "execution" in cell.metadata), default=0)  # the last to start
    raised = next((output for output in cells[number].outputs if output.output_type == "error"), None)
    what = str(error) if raised is None else f"{raised.ename}: {raised.evalue}"
    if number == 0:
        return f"{page.source}: the kernel could not be prepared: {what}"
    if number > len(page.blocks):
        return f"{page.source}: {what}"
    block = page.blocks[number - 1]
    if raised is None:
        return f"{page.source}:{block.line}: block {number} failed: {what}"
    lines = re.findall(r"Cell In\[\d+\], line (\d+)", ANSI.sub("", "\n".join(raised.traceback)))
    is_cell = block.language == "python" and not block.env
    inside = int(lines[0]) - 1 if lines and is_cell else 0
    printed = "".join(output.text for output in cells[number].outputs if output.output_type == "stream")[-2000:]
    what = what if is_cell else raised.evalue.rpartition("' ")[2]
    return f"{page.source}:{block.line + inside}: block {number} failed: {what}\n{printed}"


def _output(cell: Any, folder: str) -> Output:
    """Of a cell. The value of the last expression is left out where the block draws: it is an artist of matplotlib."""
    images, text = [], []
    for item in cell.outputs:
        data = item.get("data", {})
        if "image/png" in data:
            image = base64.b64decode(data["image/png"])
            images += [] if image in images else [image]
        elif item.output_type == "stream":
            text.append(PROGRESS.sub("", ANSI.sub("", item.text)) if item.name == "stderr" else item.text)
        elif "text/plain" in data:
            text.append(("value", data["text/plain"] + "\n"))
    kept = [item if isinstance(item, str) else item[1] for item in text if isinstance(item, str) or not images]
    plain = ANSI.sub("", "".join(kept)).replace(f"{folder}/", "").replace(folder, ".")
    return Output("\n".join(line.split("\r")[-1].rstrip() for line in plain.rstrip().split("\n")).strip("\n"), images)
