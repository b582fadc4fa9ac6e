"""Make docs/flows/interactive.html, the page in which a reader moves a flow, from its sources in tools/interactive.

python tools/make_interactive.py                   the page from its sources, with the fitted flows that it has
python tools/make_interactive.py --fit             fit all flows again (some 10 minutes on two idle cores)
python tools/make_interactive.py --fit planar ...  fit some families again
python tools/make_interactive.py --check           exit with 1 if the page differs from its sources
"""

import argparse
import json
import re
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "interactive"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "flows" / "interactive.html"
SCRIPTS = ("controls", "maps", "bases", "mesh", "raster", "drawing", "plane", "line", "selftest", "main")


def stored(page: str) -> tuple[str, str]:
    """The fitted flows (JSON) and the static picture (SVG) of a page."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    picture = re.search(r"<svg viewBox.*?</g></svg>", page, re.S)
    return data.group(1) if data else "{}", picture.group(0) if picture else ""


def assembled(data: str, picture: str) -> str:
    """The page of some flows: the template with style, scripts, data and static picture in it."""
    script = "\n".join((SOURCES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    page = (SOURCES / "page.html").read_text(encoding="utf-8")
    style = (SOURCES / "style.css").read_text(encoding="utf-8")
    for mark, text in (("STATIC", picture), ("STYLE", style), ("DATA", data), ("SCRIPT", script)):
        page = page.replace(f"/*{mark}*/", text.strip())
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fit", nargs="*", metavar="FAMILY", help="fit the flows of these families again, by default all"
    )
    parser.add_argument("--check", action="store_true", help="only compare the page with its sources")
    arguments = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    data, picture = stored(before)
    if arguments.fit is not None:
        from interactive.records import refitted, static_picture

        records = refitted(json.loads(data), arguments.fit)
        data, picture = json.dumps(records, separators=(",", ":")), static_picture(records["flows"]["radial/ring/8"])
    page = assembled(data, picture)
    if arguments.check:
        sys.exit(0 if page == before else f"{PAGE}: differs from its sources; run python tools/make_interactive.py")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE}, {len(page.encode()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
