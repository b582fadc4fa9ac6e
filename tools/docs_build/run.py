"""Run pages and store their outputs.

python tools/docs_build/run.py                       the slow pages whose code has changed
python tools/docs_build/run.py --all                 all slow pages
python tools/docs_build/run.py docs/flows/linear.md  these pages
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs_build import outputs, pages, runner


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--all", action="store_true", help="slow pages whose outputs are up to date too")
    arguments = parser.parse_args()
    if arguments.pages:
        chosen = [pages.read_page(path.resolve()) for path in arguments.pages]
    else:
        slow = [page for page in pages.all_pages() if page.slow]
        chosen = [page for page in slow if arguments.all or outputs.load(page) is None]
    errors = runner.run_pages(chosen, _finished)
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


def _finished(page: pages.Page, run: runner.Run) -> None:
    outputs.save(page, run)
    print(f"{runner.describe(page, run)}, outputs in {outputs.folder_of(page)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
