"""Links: from a page to files of the repository, and those of the built site.

PYTHONPATH=tools python -m docs_build.links        lists the external links of the site, each with its first page
"""

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs_build.pages import DOCS, ROOT, outside_code

GENERATED = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}  # pages that the build makes
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s#]+)(?:#[^)]*)?\)")
IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def missing_pages() -> list[str]:
    """Pages of the navigation that neither exist nor are made by the build."""
    entries = re.findall(r"(?:- |: )(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    return [entry for entry in entries if entry not in GENERATED and not (DOCS / entry).exists()]


def without_repository_links(markdown: str, uri: str) -> str:
    """Links to files outside docs become text and path."""

    def replace(link: re.Match[str]) -> str:
        target = (DOCS / uri).parent / link["target"]
        if "://" in link["target"] or DOCS in target.resolve().parents or not target.exists():
            return link[0]
        path = target.resolve().relative_to(ROOT).as_posix()
        return f"`{path}`" if link["text"].strip("`") in path else f"{link['text']} (`{path}`)"

    return outside_code(LINK, replace, markdown)


def with_copied_images(markdown: str, uri: str) -> tuple[str, dict[str, Path]]:
    """Images of the repository outside docs, such as those of benchmark results, get a copy in the site.

    Returns:
        The page with the new links, and for each copy its path in the site and the file.
    """
    copies: dict[str, Path] = {}

    def replace(image: re.Match[str]) -> str:
        path = (DOCS / uri).parent / image["target"]
        if "://" in image["target"] or DOCS in path.resolve().parents or not path.exists():
            return image[0]
        copy = f"figures/repository/{path.resolve().relative_to(ROOT).as_posix()}"
        copies[copy] = path.resolve()
        return f"![{image['text']}]({posixpath.relpath(copy, posixpath.dirname(uri) or '.')})"

    return outside_code(IMAGE, replace, markdown), copies


def missing_targets(path: Path) -> list[str]:
    """Relative links of a Markdown file whose target is neither a file nor a page that the build makes."""
    targets: list[str] = []
    text = path.read_text(encoding="utf-8")
    for pattern in (LINK, IMAGE):
        outside_code(pattern, lambda link: targets.append(link["target"]) or "", text)
    made = {DOCS / page for page in GENERATED}
    files = {target: path.parent / target for target in targets if not urlsplit(target).scheme}
    return [target for target, file in files.items() if not file.exists() and file.resolve() not in made]


class _Document(HTMLParser):
    """The targets (`href`, `src`) and the anchors (`id`, `name`) of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is not None and name in ("href", "src"):
                self.targets.append(value)
            if value is not None and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def dead_links(site: Path) -> list[str]:
    """Links of the built site to pages, files and anchors of the site that do not exist."""
    documents = {path.resolve(): _Document(path) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, document in documents.items():
        if path.name == "404.html":  # its links are absolute
            continue
        for target in dict.fromkeys(document.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if file.is_dir():
                file = file / "index.html"
            where = f"{path.relative_to(site.resolve())}: {target}"
            if not file.exists():
                faults.append(f"{where}: there is no such file")
            elif parts.fragment and file in documents and unquote(parts.fragment) not in documents[file].anchors:
                faults.append(f"{where}: the page has no such anchor")
    return faults


def external_links(site: Path) -> dict[str, str]:
    """The links that leave the site, with the first page that has each."""
    found: dict[str, str] = {}
    for path in sorted(site.rglob("*.html")):
        for target in _Document(path).targets:
            if urlsplit(target).scheme in ("http", "https"):
                found.setdefault(target, str(path.relative_to(site)))
    return found


if __name__ == "__main__":
    for target, page in sorted(external_links(ROOT / "site").items()):
        print(f"{target}    ({page})")
