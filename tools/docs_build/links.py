"""Links: from a page to files of the repository, and those of the built site.

python tools/docs_build/links.py        lists the external links of the site, each with its first page
"""

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s#]+)(?:#[^)]*)?\)")
IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def planned_pages() -> set[Path]:
    """Pages of the navigation that do not exist: those to be written, and those that the build makes."""
    entries = re.findall(
        r"(?:- |: )(\S+\.(?:md|html))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    return {path.resolve() for entry in entries if not (path := ROOT / "docs" / entry).exists()}


def without_repository_links(markdown: str, uri: str, made: set[str]) -> str:
    """Links to files outside docs become text and path, those to pages that are not written text.

    Args:
        made: the pages that the build makes.
    """
    absent = planned_pages() - {(ROOT / "docs" / page).resolve() for page in made}

    def replace(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / uri).parent / link["target"]
        if target.resolve() in absent:
            return link["text"]
        if "://" in link["target"] or (ROOT / "docs") in target.resolve().parents or not target.exists():
            return link[0]
        path = target.resolve().relative_to(ROOT).as_posix()
        return f"`{path}`" if link["text"].strip("`") in path else f"{link['text']} (`{path}`)"

    return LINK.sub(replace, markdown)


def with_copied_images(markdown: str, uri: str) -> tuple[str, dict[str, Path]]:
    """Images of the repository outside docs, such as those of benchmark results, get a copy in the site.

    Returns:
        The page with the new links, and for each copy its path in the site and the file.
    """
    copies: dict[str, Path] = {}

    def replace(image: re.Match[str]) -> str:
        path = (ROOT / "docs" / uri).parent / image["target"]
        if "://" in image["target"] or (ROOT / "docs") in path.resolve().parents or not path.exists():
            return image[0]
        copy = f"figures/repository/{path.resolve().relative_to(ROOT).as_posix()}"
        copies[copy] = path.resolve()
        return f"![{image['text']}]({posixpath.relpath(copy, posixpath.dirname(uri) or '.')})"

    return IMAGE.sub(replace, markdown), copies


def missing_targets(path: Path) -> list[str]:
    """Relative links of a Markdown file whose target is neither a file nor a page of the navigation."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [link["target"] for link in LINK.finditer(text)] + [image["target"] for image in IMAGE.finditer(text)]
    planned = planned_pages()
    files = {target: path.parent / target for target in targets if not urlsplit(target).scheme}
    return [target for target, file in files.items() if not file.exists() and file.resolve() not in planned]


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
