"""The module graph as data: packages in order, their files, code lines and imports, and what breaks the order.

    python tools/architecture.py          a table of packages, and every import that breaks a rule
    python tools/architecture.py --json   the whole graph

Rules: a package imports only packages listed before it, the modules of a package import each other without a cycle, and
the root of the package holds four files.
"""

import argparse
import ast
import io
import json
import tokenize
from collections.abc import Iterable
from pathlib import Path

NAME = "pushforward"
SOURCE = Path(__file__).resolve().parent.parent / "src" / NAME

# A package may import those above it. Training reports the same importance-sampling diagnostics that users call, so
# diagnostics come before it.
PACKAGES = (
    "numerics",
    "core",
    "networks",
    "bijections",
    "bases",
    "recipes",
    "diagnostics",
    "train",
    "persistence",
    "datasets",
    "tabular",
    "tables",
    "reporting",
    "cli",
    "numpyro",
    "flowjax",
)
ROOT_FILES = ("__init__", "__main__", "_version", "errors")
_AT_THE_BOTTOM = ("errors", "_version")  # every package may import these

Graph = dict[str, set[str]]


def module_name(path: Path, source: Path = SOURCE) -> str:
    """`pushforward.core.flow` for its file; the `__init__` of a package counts as the package."""
    parts = (NAME, *path.relative_to(source).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """The package of a module: the first name below pushforward; `__init__` for the root itself."""
    return [*module.split("."), "__init__"][1]


def imports_of(module: str, code: str, modules: Iterable[str], *, is_package: bool = False) -> list[tuple[int, str]]:
    """Every module of the library that a file imports, at any depth, `if TYPE_CHECKING:` included, with its line."""
    known, found = set(modules), []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                above = module.split(".")[: None if is_package else -1]
                start = ".".join(above[: len(above) - node.level + 1] + ([start] if start else []))
            for alias in node.names:
                name = f"{start}.{alias.name}"
                found.append((node.lineno, name if name in known else start))
    return [(line, name) for line, name in found if name.split(".")[0] == NAME]


def broken_order(module: str, imported: str) -> str:
    """What is wrong with an import, '' if nothing is."""
    here, there = package_of(module), package_of(imported)
    if here in ("__init__", "__main__") or here == there or there in _AT_THE_BOTTOM:
        return ""
    for name in (here, there):
        if name not in PACKAGES:
            return f"{name!r} is no package of tools/architecture.py"
    if here in _AT_THE_BOTTOM or PACKAGES.index(there) > PACKAGES.index(here):
        return f"{here} comes before {there}"
    return ""


def cycle_in(graph: Graph) -> list[str]:
    """Modules that import each other in a circle, first and last the same; empty if there are none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        for imported in sorted(graph.get(module, ())):
            if cycle := visit(imported):
                return cycle
        done.add(path.pop())
        return []

    for module in sorted(graph):
        if cycle := visit(module):
            return cycle
    return []


def code_lines(code: str) -> int:
    """Lines that hold code: neither empty, nor only a comment, nor part of a docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            text = node.body[0]
            docstrings.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def read(source: Path = SOURCE) -> dict[str, Path]:
    """The modules of the library by name."""
    return {module_name(path, source): path for path in sorted(source.rglob("*.py"))}


def graph_of(modules: dict[str, Path]) -> tuple[Graph, list[str]]:
    """Which modules each module imports, and one line for each import that breaks a rule."""
    graph: Graph = {}
    wrong = []
    for module, path in modules.items():
        code = path.read_text(encoding="utf-8")
        graph[module] = set()
        for line, imported in imports_of(module, code, modules, is_package=path.name == "__init__.py"):
            if imported != module:
                graph[module].add(imported)
            if reason := broken_order(module, imported):
                wrong.append(f"{module}:{line} imports {imported}: {reason}")
    # A package's __init__ exports what its modules make: only imports between modules themselves can go in a circle.
    initialisers = {module for module, path in modules.items() if path.name == "__init__.py"}
    if cycle := cycle_in(
        {module: names - initialisers for module, names in graph.items() if module not in initialisers}
    ):
        wrong.append(f"modules import each other: {' -> '.join(cycle)}")
    stray = sorted({path.stem for path in SOURCE.glob("*.py")} - set(ROOT_FILES))
    wrong += [f"{NAME}/{name}.py lies at the root of the package: move it into a package" for name in stray]
    return graph, wrong


def summary() -> dict:
    """Packages with files, lines of code, longest file and imported packages; every module's imports; what is wrong."""
    modules = read()
    graph, wrong = graph_of(modules)
    packages = {}
    for package in (*PACKAGES, "root"):
        own = {
            m: p for m, p in modules.items() if package_of(m) == package or (package == "root" and p.parent == SOURCE)
        }
        texts = {m: p.read_text(encoding="utf-8") for m, p in own.items()}
        lengths = {m: len(text.splitlines()) for m, text in texts.items()}
        there = {package_of(name) for m in own for name in graph[m]} - {package, *_AT_THE_BOTTOM, "__init__"}
        packages[package] = {
            "files": len(own),
            "code_lines": sum(map(code_lines, texts.values())),
            "longest": max(lengths.items(), key=lambda pair: pair[1]) if lengths else None,
            "imports": sorted(there, key=lambda name: PACKAGES.index(name) if name in PACKAGES else -1),
        }
    return {"packages": packages, "imports": {m: sorted(names) for m, names in graph.items()}, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the whole graph as JSON")
    found = summary()
    if parser.parse_args().json:
        print(json.dumps(found, indent=1))
        return bool(found["wrong"])
    print(f"{'package':12}{'files':>6}{'code':>7}  {'longest file':40}imports")
    for name, row in found["packages"].items():
        module, length = row["longest"]
        short = module.removeprefix(f"{NAME}.")
        print(f"{name:12}{row['files']:6}{row['code_lines']:7}  {f'{short} {length}':40}{' '.join(row['imports'])}")
    rows = found["packages"].values()
    print(f"{'all':12}{sum(r['files'] for r in rows):6}{sum(r['code_lines'] for r in rows):7}")
    print("\n".join(found["wrong"]) or "no import breaks the order")
    return bool(found["wrong"])


if __name__ == "__main__":
    raise SystemExit(main())
