"""Run pages of one kernel, in a process of its own, whose sockets then end with it.

Standard input: for each page its blocks, as JSON. Standard output: for each page the texts or the error.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from docs_build import runner
from docs_build.pages import Block, Page

runner.WORKERS = 1
pages = [
    Page(name, False, True, tuple(Block("python", code, "", 10 * k) for k, code in enumerate(codes, start=1)))
    for name, codes in json.load(sys.stdin).items()
]
found = {}
errors = runner.run_pages(reversed(pages), lambda page, run: found.update({page.name: [o.text for o in run.outputs]}))
print(json.dumps(found | {error.page.name: str(error) for error in errors}))
