"""Extension of griffe: prepares the docstrings for the API pages.

`Cost:` and `Reference:`, which the Google style lacks, become paragraphs; `Args:` and `Attributes:` become lists,
because one entry may name several of them; public names in backticks become links.
"""

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.append(str(Path(__file__).resolve().parents[1]))  # griffe loads this file by its path

from docs_build.api import identifiers

PARAGRAPH = re.compile(r"^(Cost|Reference): *(?=\S)", re.MULTILINE)
LIST = re.compile(r"^(Args|Attributes):\n((?: {4}.*\n?|\n(?= {4}))+)", re.MULTILINE)
TITLES = {"Args": "Arguments", "Attributes": "Attributes"}
ENTRY = re.compile(r"^ {4}(?P<names>\*{0,2}[a-z]\w*(?:,\s+\*{0,2}[a-z]\w*)*): (?P<text>.*(?:\n {5,}.*)*)", re.MULTILINE)
NAME = re.compile(r"(?<![`\w\[])`(?:(?:pf|pushforward)\.(?:\w+\.)*)?(?P<name>[A-Za-z]\w+)`(?!`)")


def public_names() -> dict[str, str]:
    """From the last part of each public name to the whole."""
    return {identifier.rpartition(".")[2]: identifier for identifier in identifiers()}


def prepared(text: str, names: dict[str, str]) -> str:
    """A docstring as Markdown with the sections of griffe."""
    head, examples, tail = text.partition("\nExample:\n")
    text = NAME.sub(lambda name: _link(name, names), head) + examples + tail
    text = PARAGRAPH.sub(r"**\1.** ", text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    return LIST.sub(lambda section: f"**{TITLES[section[1]]}**\n\n{_entries(section[2])}\n", text)


def _entries(section: str) -> str:
    entries = []
    for entry in ENTRY.finditer(section):
        arguments = ", ".join(f"`{name}`" for name in re.split(r",\s+", entry["names"]))
        entries.append(f"- {arguments}: " + " ".join(line.strip() for line in entry["text"].splitlines()))
    return "\n".join(entries) + "\n"


def _link(name: re.Match[str], names: dict[str, str]) -> str:
    return f"[{name[0]}][{names[name['name']]}]" if name["name"] in names else name[0]


class Sections(griffe.Extension):
    """Prepares each docstring once, after griffe has read its object."""

    def __init__(self) -> None:
        self.names = public_names()

    def on_instance(self, *, obj: griffe.Object, **_options: Any) -> None:
        if obj.docstring is not None:
            own = {name: target for name, target in self.names.items() if name != obj.name}
            obj.docstring.value = prepared(obj.docstring.value, own)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_options: Any) -> None:
        """Functions named as the module that defines them (`compare.compare`): griffe finds the module first."""
        loader.resolve_aliases(implicit=True, external=False)
        found = []
        for identifier in self.names.values():
            parent, _, name = identifier.partition(f"{pkg.path}.")[2].rpartition(".")
            try:
                owner = pkg[parent] if parent else pkg
                target = owner[name].final_target if owner[name].is_alias else owner[name]
            except KeyError:  # mkdocstrings names it
                continue
            if target.is_module and name in target.members:
                found.append((owner, name, target.members[name]))
        for owner, name, target in found:
            owner.set_member(name, griffe.Alias(name, target, parent=owner))
