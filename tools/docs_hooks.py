"""Hooks of mkdocs: run the pages, insert their outputs, check the links of the built site."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page as SitePage
from mkdocs.utils import get_relative_url

sys.path.append(str(Path(__file__).parent))  # for commands that import this file by its path

from docs_build import links, outputs, pages, runner, tables

NETWORK_SHIM = "https://unpkg.com/iframe-worker/shim"
SHIM = "assets/iframe-worker/shim.js"
log = get_plugin_logger("docs")
_stored: dict[str, tuple[pages.Page, outputs.Stored]] = {}


def on_files(files: Files, config: Any) -> Files:
    """Run the pages whose outputs are not stored, and add the images and the generated pages."""
    for uri, source in links.GENERATED.items():
        files.append(File.generated(config, uri, content=(pages.ROOT / source).read_text(encoding="utf-8")))
    try:
        everything = pages.all_pages()
    except ValueError as error:
        raise PluginError(str(error)) from None
    for folder in outputs.orphans(everything):
        log.warning("%s: there is no slow page of these outputs; remove them", folder)
    stale = [page for page in everything if not page.slow and outputs.load(page) is None]
    if os.environ.get("DOCS_RUN") == "0":  # for a quick look at text and layout
        stale = []
    failed = {error.page.name: error for error in runner.run_pages(stale, _finished)}
    _stored.clear()
    for page in everything:
        stored = outputs.load(page)
        if page.name in failed:
            log.warning("%s", failed[page.name])
        elif stored is None:
            advice = "make docs-slow" if page.slow else "make docs"
            log.warning("%s: its code has changed since its outputs were made. Run: %s", page.source, advice)
        if stored is None:
            continue
        _stored[f"{page.name}.md"] = page, stored
        for k, output in enumerate(stored.outputs):
            for j, image in enumerate(output.images):
                files.append(File.generated(config, f"figures/{page.name}/{k}_{j}.png", content=image))
    return files


def _finished(page: pages.Page, run: runner.Run) -> None:
    outputs.save(page, run)
    print(runner.describe(page, run), file=sys.stderr, flush=True)


def on_page_markdown(markdown: str, page: SitePage, config: Any, files: Files) -> str:
    uri = page.file.src_uri
    markdown, faults = tables.insert_tables(markdown)
    for fault in pages.faults(page.file.content_string) + faults:
        log.warning("%s: %s", uri, fault)
    if uri in _stored:
        source, stored = _stored[uri]
        for output, block in zip(stored.outputs, source.blocks, strict=True):
            if output.images and not block.alt:
                log.warning('%s:%d: a block with a figure needs alt="what is seen"', source.source, block.line)
        url = get_relative_url(f"figures/{source.name}/", page.file.url)
        markdown = outputs.insert(markdown, source, stored, url.rstrip("/") + "/")
    markdown = re.sub(r"(?m)^```(python|bash) .*$", r"```\1", markdown)  # without the options of the runner
    markdown = markdown.replace("```console\n", "```bash\n")  # for the highlighter: there is no prompt
    markdown, copies = links.with_copied_images(markdown, uri)
    for copy, path in copies.items():
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, abs_src_path=str(path)))
    return links.without_repository_links(markdown, uri)


def on_post_page(output: str, page: SitePage, config: Any) -> str:
    """The search of a site that is opened from a folder loads a script from the network: use the copy in assets."""
    return output.replace(NETWORK_SHIM, get_relative_url(SHIM, page.file.url))


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    return output_content.replace(NETWORK_SHIM, f"/{SHIM}")


def on_post_build(config: Any) -> None:
    for fault in links.dead_links(Path(config.site_dir)):
        log.warning(fault)
