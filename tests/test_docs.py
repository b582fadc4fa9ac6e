"""The pages of the documentation, without building them: fences, links, tables, public names, outputs of slow pages."""

import importlib
import json
import subprocess
import sys

import pytest
from docs_build import api, links, outputs, pages, tables

import pushforward as pf

PAGES = {path.relative_to(pages.ROOT).as_posix(): path for path in sorted(pages.DOCS.rglob("*.md"))}
PACKAGES = "bijections bases networks datasets diagnostics tables numpyro flowjax reporting.plots".split()


@pytest.mark.parametrize("name", [*PAGES, "README.md", "CONTRIBUTING.md"])
def test_links_of_page_lead_to_files(name):
    assert links.missing_targets(pages.ROOT / name) == []


def test_pages_of_the_navigation_exist():
    assert links.missing_pages() == []


@pytest.mark.parametrize("name", PAGES)
def test_every_fence_is_run_or_plain_text(name):
    assert pages.faults(PAGES[name].read_text(encoding="utf-8")) == []


def test_tables_of_results_exist():
    for path in PAGES.values():
        tables.insert_tables(path.read_text(encoding="utf-8"))


def test_outputs_of_slow_pages_are_those_of_their_code():
    stale = [page.source for page in pages.all_pages() if page.slow and outputs.load(page) is None]
    assert not stale, f"run: make docs-slow (code changed: {stale})"


def test_every_public_name_is_in_the_api_reference():
    names = {f"pushforward.{name}" for name in pf.__all__ if name not in (*PACKAGES, "__version__")}
    for package in PACKAGES:
        names |= {f"pushforward.{package}.{name}" for name in importlib.import_module(f"pushforward.{package}").__all__}
    listed = api.identifiers()
    assert len(listed) == len(set(listed))
    missing = names - set(listed)
    assert not missing, f"add lines '::: NAME' for {sorted(missing)} to a page of docs/reference/api"
    others = ("pushforward.train.", "pushforward.errors.")
    unknown = {name for name in set(listed) - names if not name.startswith(others)}
    assert not unknown, f"docs/reference/api lists {sorted(unknown)}, which are no public names"


def test_faults_are_found(tmp_path):
    bad = "```\nx\n```\n\n```python\nplt.plot([1])\n```\n\n- a\n    ```bash\n    ls\n    ```\n"
    assert [fault.split(":")[0] for fault in pages.faults(bad)] == ["line 1", "line 5", "line 10", "line 12"]
    (tmp_path / "page.md").write_text("[a](gone.md) ![b](gone.png) [c](https://example.org) [d](page.md#part)\n")
    assert links.missing_targets(tmp_path / "page.md") == ["gone.md", "gone.png"]
    with pytest.raises(ValueError, match="no row has nowhere"):
        tables.table("speed.md", 1, "| rows: nowhere ")


def test_links_in_code_stay():
    code = "```text\n[t](../README.md)\n```\n`[t](../README.md)`"
    page = links.without_repository_links(f"{code} [`t`](../README.md)", "tables.md")
    assert page == f"{code} `t` (`README.md`)"


LOOK = """
import jax, logging, numpy, os, sys, warnings
print([jax.config.values[name] for name in ("jax_debug_nans", "jax_enable_x64", "jax_default_matmul_precision")])
print("LEAK" in os.environ, warnings.filters, numpy.get_printoptions(), numpy.geterr(), logging.root.manager.disable)
print("/leak" in sys.path)
"""
LEAK = """
jax.config.update("jax_debug_nans", True)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "bfloat16")
os.environ["LEAK"] = "1"
warnings.simplefilter("error")
numpy.set_printoptions(precision=2)
numpy.seterr(all="raise")
logging.disable(50)
sys.path.append("/leak")
"""
THREAD = "import threading, time\nthreading.Thread(target=lambda: time.sleep(60), daemon=True).start()"


def test_pages_of_a_kernel_do_not_change_each_other_and_failures_name_the_block():
    pytest.importorskip("nbclient", reason="of the dependency group docs")
    codes = {
        "leak": [LOOK, LEAK, LOOK], "look": [LOOK], "exit": ["x = 1", "exit()"], "quit": ["x = 1", "quit"],
        "thread": [THREAD], "dead": ["x = 1", "import os\nos._exit(1)"],
    }  # fmt: skip
    command = [sys.executable, pages.ROOT / "tests" / "support" / "kernel_pages.py"]
    done = subprocess.run(command, input=json.dumps(codes), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["look"][0] == found["leak"][0] != found["leak"][2]
    for name in ("exit", "quit", "dead"):
        assert found[name].startswith(f"docs/{name}.md:20: block 2 failed: "), found[name]
    assert "exit() or quit()" in found["exit"]
    assert "still runs: join it" in found["thread"]


def test_tables_keep_chosen_rows_and_columns():
    text = tables.table("speed.md", 1, "| rows: maf-43 | columns: 1, 2, 4 ")
    assert text.splitlines()[0] == "| workload | operation | ratio |"
    assert all("maf-43" in line for line in text.splitlines()[2:] if line.startswith("|"))
    assert "benchmarks/results/speed.md" in text
