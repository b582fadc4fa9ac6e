"""Pages: Markdown files whose ```python and ```bash blocks are run, in order, in one namespace."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RUN = ("python", "bash")
NOT_RUN = ("text", "console")
FENCE = re.compile(r"^```(?P<language>\w*)[ ]*(?P<options>[^\n]*)\n(?P<code>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
SPAN = r"(?<!`)(?P<ticks>`+)(?!`)[^\n]+?(?<!`)(?P=ticks)(?!`)"
OPTIONS = re.compile(r'(?:(?:alt|env)="[^"\\]*"[ ]*)*')
FRONT_MATTER = re.compile(r"\A---\n(.*?)^---\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block that is run.

    Attributes:
        alt: what its figures show.
        line: of its first line of code, from 1 at the top of the file.
        env: the environment of benchmarks/environments.py in which it runs, as a program of its own; "" for the page's.
    """

    language: str
    code: str
    alt: str
    line: int
    env: str = ""


@dataclass(frozen=True)
class Page:
    """One page, with the blocks that are run.

    Attributes:
        name: its path below docs, without the suffix.
        slow: its outputs are committed, in docs/outputs.
        as_compiled: its programs are compiled as those of users, not fast: its outputs tell times, or it is slow.
    """

    name: str
    slow: bool
    as_compiled: bool
    blocks: tuple[Block, ...]

    @property
    def source(self) -> str:
        return f"docs/{self.name}.md"

    @functools.cached_property
    def code_hash(self) -> str:
        """Of the code alone: text and captions may change without another run."""
        return digest("\0".join(f"{block.language}{block.env}\n{block.code}" for block in self.blocks).encode())


def read_page(path: Path) -> Page:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8: {error}.") from None
    head = FRONT_MATTER.match(text)
    options = re.findall(r"^(\w+): *true", head[1], re.MULTILINE) if head else []
    name = path.relative_to(DOCS).with_suffix("").as_posix()
    slow = "slow" in options
    return Page(name, slow, slow or "as_compiled" in options, tuple(_blocks(text)))


def all_pages() -> list[Page]:
    """The pages that have blocks to run."""
    return [page for path in sorted(DOCS.rglob("*.md")) if (page := read_page(path)).blocks]


def _blocks(text: str) -> Iterator[Block]:
    for fence in FENCE.finditer(text):
        if fence["language"] in RUN:
            options = dict(re.findall(r'(\w+)="([^"]*)"', fence["options"]))
            line = text.count("\n", 0, fence.start("code")) + 1
            yield Block(fence["language"], fence["code"], options.get("alt", ""), line, options.get("env", ""))


def faults(text: str) -> list[str]:
    """Fences of a page that are neither run nor plain text, and those that the build would miss."""
    found = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        if fence["language"] not in (*RUN, *NOT_RUN):
            language = fence["language"] or "no language"
            found.append(f"line {line}: a fence of {language}; use {', '.join(RUN + NOT_RUN)}")
        elif fence["language"] in RUN and not OPTIONS.fullmatch(fence["options"]):
            found.append(f'line {line}: expected options alt="words without quotes" and env="name"')
        elif fence["language"] == "python" and re.search(r"plt\.(?!close|rcParams)", fence["code"]):
            if not re.search('alt="[^"]', fence["options"]):
                found.append(f'line {line}: a block with a figure needs alt="what is seen"')
    outside = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    for number, line in enumerate(outside.splitlines(), start=1):
        if re.match(r"\s*(```|~~~)", line):
            found.append(f"line {number}: a fence that is indented or not closed is not run")
        if "![](" in line:
            found.append(f"line {number}: a picture needs ![what is seen](file)")
    return found


def outside_code(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> str:
    """Replace the matches of a pattern, but for those in fences and code spans."""
    either = re.compile(f"{FENCE.pattern}|{SPAN}|(?P<outside>{pattern.pattern})", FENCE.flags)
    return either.sub(lambda found: found[0] if found["outside"] is None else replace(found), text)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]
