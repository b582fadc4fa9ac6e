"""The pages of the documentation, without building them: fences, links, tables, public names, outputs of slow pages."""

import importlib

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


def test_tables_keep_chosen_rows_and_columns():
    text = tables.table("speed.md", 1, "| rows: maf-43 | columns: 1, 2, 4 ")
    assert text.splitlines()[0] == "| workload | operation | ratio |"
    assert all("maf-43" in line for line in text.splitlines()[2:] if line.startswith("|"))
    assert "benchmarks/results/speed.md" in text
