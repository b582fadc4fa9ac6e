"""Screenshots of built pages at desktop and phone width, in both themes, to look at.

    pip install playwright
    python tools/screenshots.py shots index tables reference/api/bijections

Needs a Chromium (`--chromium` names it, by default /usr/bin/chromium); the pages are read from site/.
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

SITE = Path(__file__).resolve().parent.parent / "site"
WIDTHS = (1280, 390)
THEMES = ("light", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the PNG files are written")
    parser.add_argument("pages", nargs="+", help="paths below site/, without .html")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--height", type=int, default=3000, help="of a screenshot, at most")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        for width in WIDTHS:
            for theme in THEMES:
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
                tab = context.new_page()
                requests: list[str] = []
                tab.on("request", lambda request, seen=requests: seen.append(request.url))
                for page in arguments.pages:
                    tab.goto((SITE / f"{page}.html").as_uri())
                    tab.wait_for_timeout(300)
                    overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                    height = min(arguments.height, tab.evaluate("document.documentElement.scrollHeight"))
                    path = arguments.folder / f"{page.replace('/', '_')}_{width}_{theme}.png"
                    tab.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": height}, full_page=True)
                    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
                    print(f"{path}  {overflow} px too wide, {len(outside)} requests to the network {outside[:3]}")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
