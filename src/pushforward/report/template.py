"""The page's frame: text, colours for light and dark, and a policy under which a browser fetches and runs nothing."""

from string import Template

_CSS = """
:root { color-scheme: light dark; --data: #0072b2; --model: #d55e00; --ink: #24292f; --muted: #6a737d;
  --line: #d8dee4; --paper: #ffffff; --soft: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --data: #56b4e9; --model: #f08a35; --ink: #dfe4ea; --muted: #98a2ad; --line: #363d46; --paper: #14181d;
    --soft: #1d2229; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; overflow-wrap: break-word;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.1rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 2.2rem 0 .8rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { font-size: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .9rem .42rem 0; text-align: left; vertical-align: baseline; font-weight: 400;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-size: .84rem; }
tbody th { min-width: 7rem; }
.number { text-align: right; white-space: nowrap; padding-left: .5rem; }
small { color: var(--muted); font-size: .85em; }
.subject > * { font-weight: 650; background: var(--soft); }
.subject > th { box-shadow: inset 3px 0 var(--model); padding-left: .7rem; }
.facts th { color: var(--muted); }
.facts td { overflow-wrap: anywhere; }
figure { margin: .6rem 0; }
figcaption { color: var(--muted); font-size: .9rem; max-width: 46rem; margin-top: .4rem; }
svg { display: block; max-width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.plain svg { min-width: 30rem; }
.wide svg { min-width: min(42rem, 190vw); }
dt { font-weight: 650; margin-top: .7rem; }
dd { margin: .1rem 0 0; max-width: 46rem; }
footer { color: var(--muted); font-size: .86rem; padding-top: 2rem; padding-bottom: 2rem; }
@media print { .scroll { overflow: visible; } svg { min-width: 0 !important; } section { break-inside: avoid; } }
"""

HOW_TO_READ = """<dl>
<dt>Nats per row</dt>
<dd>The mean of the natural logarithm of the model's density at rows it has never seen, in the units of the data. Higher
is better. The number itself depends on those units (metres or millimetres); differences between models do not.</dd>
<dt>Gain</dt>
<dd>A gain of 0.7 nats means that held-out rows are twice as likely, of 2.3 nats ten times as likely, in the geometric
mean over rows.</dd>
<dt>\N{PLUS-MINUS SIGN}</dt>
<dd>One standard error of that mean over the held-out rows. All models are scored on the same rows, so the difference of
two models is usually known better than either number.</dd>
<dt>Training curve</dt>
<dd>The kept weights are those of the dot. Training rows far above validation rows mean that the model has begun to
learn rows by heart.</dd>
<dt>Corner plot</dt>
<dd>Blue is data, orange are samples of the model. Filled and outlined regions are the smallest that hold 25, 50, 75 and
95 % of the rows. The axes leave out the last 0.1 % of the data at either end.</dd>
</dl>"""

# Before substitution, so that a brace or a dollar sign in the style sheet can never be taken for a place to fill.
PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>"""
    + _CSS.replace("$", "$$")
    + """</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="lead">$lead</p>
$rest
<section><h2>Leaderboard</h2><div class="scroll" tabindex="0">$leaderboard</div></section>
$training
<section><h2>Data against samples</h2>$corner</section>
<section><h2>The model</h2><div class="scroll" tabindex="0">$facts</div></section>
<section><h2>How to read this</h2>$how_to_read</section>
</main>
<footer>$attribution</footer>
</body>
</html>
"""
)
