"""Template of our HTML pages: the style sheet, and a policy that forbids scripts and external resources."""

LIGHT = """
:root { --data: #0072b2; --model: #d55e00; --ink: #24292f; --muted: #6a737d;
  --line: #d8dee4; --paper: #ffffff; --soft: #f5f7f9; }
"""

DARK = """
:root { color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --data: #56b4e9; --model: #f08a35; --ink: #dfe4ea; --muted: #98a2ad; --line: #363d46; --paper: #14181d;
    --soft: #1d2229; }
}
"""

_BASE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; overflow-wrap: break-word;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.1rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 2.2rem 0 .8rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { font-size: 1.2rem; }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--paper) 50%, transparent) 0 0 / 2.4rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 50%, transparent) 100% 0 / 2.4rem 100% no-repeat local,
  linear-gradient(to right, var(--line), transparent) 0 0 / .9rem 100% no-repeat scroll,
  linear-gradient(to left, var(--line), transparent) 100% 0 / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .9rem .42rem 0; text-align: left; vertical-align: baseline; font-weight: 400;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-size: .84rem; }
tbody th { min-width: 7rem; }
.number { text-align: right; white-space: nowrap; padding-left: .5rem; }
small { color: var(--muted); font-size: .85em; }
figure { margin: .6rem 0; }
figcaption { color: var(--muted); font-size: .9rem; max-width: 46rem; margin-top: .4rem; }
svg { display: block; max-width: 100%; height: auto; }
footer { color: var(--muted); font-size: .86rem; padding-top: 2rem; padding-bottom: 2rem; }
@media (max-width: 40rem) { thead .number { white-space: normal; min-width: 4.2rem; } tbody th { min-width: 0; } }
"""

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
{body}
</body>
</html>
"""


def document(title: str, body: str, css: str = "", *, dark: bool = False) -> str:
    """A complete page: head, style sheet, body.

    Args:
        title: escaped text.
        body: HTML.
        css: additional style sheet.
        dark: whether the page has a dark mode; pictures with an opaque background do not suit one.

    >>> document("A title", "<p>Text</p>").count("A title")
    1
    """
    sheet = LIGHT + (DARK if dark else "") + _BASE + css
    return _TEMPLATE.format(scheme="light dark" if dark else "light", title=title, css=sheet, body=body)
