"""The pages of the documentation, without building them: fences, links, tables, public names, outputs of slow pages."""

import importlib
import json
import re
import subprocess
import sys
from types import SimpleNamespace

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


@pytest.mark.parametrize("name", PAGES)
def test_tables_of_results_exist(name):
    assert tables.insert_tables(PAGES[name].read_text(encoding="utf-8"))[1] == []


def test_outputs_of_slow_pages_are_those_of_their_code():
    stale = [page.source for page in pages.all_pages() if page.slow and outputs.load(page) is None]
    assert not stale, f"run: make docs-slow (code changed: {stale})"


def test_committed_outputs_have_a_slow_page():
    assert outputs.orphans(pages.all_pages()) == []
    assert outputs.orphans([]) != []


def test_damaged_outputs_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "CACHE", tmp_path)
    page = pages.Page("a", False, False, (pages.Block("python", "f()\n", "", 2),))
    outputs.save(page, outputs.Run([outputs.Output("1", [b"png"])], 1.0, 1.0))
    assert outputs.load(page).outputs[0] == outputs.Output("1", [b"png"])
    (tmp_path / "a" / "0_0.png").unlink()
    assert outputs.load(page) is None
    (tmp_path / "a" / "outputs.json").write_text('{"hash": "')
    assert outputs.load(page) is None


def test_marks_and_encodings_of_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    path = tmp_path / "a.md"
    path.write_text("---\nslow: true\n---\n", encoding="utf-8-sig")
    assert pages.read_page(path).slow
    path.write_text("caf\u00e9", encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.md: expected UTF-8"):
        pages.read_page(path)


def test_names_that_the_package_lacks_are_left_to_mkdocstrings(monkeypatch):
    griffe = pytest.importorskip("griffe", reason="of the dependency group docs")
    from docs_build import docstrings

    monkeypatch.setattr(docstrings, "identifiers", lambda: ["package.gone", "package.none.gone"])
    with griffe.temporary_visited_package("package", {"__init__.py": ""}) as package:
        docstrings.Sections().on_package(pkg=package, loader=griffe.GriffeLoader())


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


@pytest.mark.parametrize(
    "fence", ["~~~python", "``` python", "```py", "````text", '```python alt="a \\"b\\""', '```bash atl="b"']
)
def test_fences_that_would_not_run_or_lose_their_alt_are_found(fence):
    assert pages.faults(f"{fence}\nx\n{fence[:3]}\n")


def test_pictures_without_words_are_found():
    assert pages.faults("![](a.png)\n") == ["line 1: a picture needs ![what is seen](file)"]
    assert (
        pages.faults('```python alt=""\nplt.plot([1])\n```\n') == pages.faults("```python\nplt.plot([1])\n```\n") != []
    )


@pytest.mark.parametrize(
    ("directive", "fault"),
    [
        ("table: speed.md#1 | rows: nowhere", "no row has nowhere"),
        ("table: speed.md | columns: x", "columns 1 to .*, got x"),
        ("table: speed.md | columns: 99", "columns 1 to .*, got 99"),
        ("table: speed.md | colums: 1", "got 'colums: 1'"),
        ("table: speed.md | rows:", "got 'rows:'"),
        ("table: nowhere.md", "there is no nowhere.md"),
        ("table: speed.md#99", "no table 99"),
        ("tabel: speed.md", "expected <!-- table"),
        ("tbale: speed.md", "expected <!-- table"),
        ("table speed.md", "expected <!-- table"),
    ],
)
def test_every_faulty_directive_is_reported(directive, fault):
    page = f"<!-- {directive} -->\n\n- a\n\n  <!-- {directive} -->\n"
    text, faults = tables.insert_tables(page)
    assert text == page
    assert len(faults) == 2
    assert re.search(fault, faults[0])


def test_build_warns_of_faults_of_a_page_and_of_figures_without_words(monkeypatch, caplog):
    pytest.importorskip("mkdocs", reason="of the dependency group docs")
    import docs_hooks

    text = "```py\n```\n<!-- tabel: a.md -->\n```python\ndraw()\n```\n"
    page = pages.Page("a", False, False, (pages.Block("python", "draw()\n", "", 5),))
    stored = outputs.Stored([outputs.Output("", [bytes(24)])], 0.0, "")
    monkeypatch.setitem(docs_hooks._stored, "a.md", (page, stored))
    file = SimpleNamespace(src_uri="a.md", url="a.html", content_string=text)
    docs_hooks.on_page_markdown(text, SimpleNamespace(file=file), None, None)
    faults = [record.getMessage().split("; ")[0] for record in caplog.records]
    assert faults[0] == "docs: a.md: line 1: a fence of py"
    assert faults[1].startswith("docs: a.md: <!-- tabel: a.md -->: expected ")
    assert faults[2] == 'docs: docs/a.md:5: a block with a figure needs alt="what is seen"'


def test_indented_table_stays_in_its_list():
    text, faults = tables.insert_tables("- a\n\n  <!-- table: speed.md | rows: maf -->\n")
    assert not faults
    assert "\n  | workload |" in text


def test_printed_marks_are_not_markdown():
    page = pages.Page("a", False, False, (pages.Block("python", "f()\n", "", 2),))
    stored = outputs.Stored([outputs.Output("```\n~~~\n[a](../README.md) <b>")], 0.0, "")
    text = outputs.insert("```python\nf()\n```\n", page, stored, "")
    assert "<code>&#96;&#96;&#96;\n&#126;&#126;&#126;\n&#91;a](../README.md) &lt;b&gt;</code>" in text


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
    text = tables.table("table: speed.md#1 | rows: maf-43 | columns: 1, 2, 4")
    assert text.splitlines()[0] == "| workload | operation | ratio |"
    assert all("maf-43" in line for line in text.splitlines()[2:] if line.startswith("|"))
    assert "benchmarks/results/speed.md" in text
