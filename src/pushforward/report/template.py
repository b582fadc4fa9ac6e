"""The report's frame: its text, its places to fill, and what it adds to the look of all our pages."""

from string import Template

from pushforward.plots.sheet import document

_CSS = """
.subject > * { font-weight: 650; background: var(--soft); }
.subject > th { box-shadow: inset 3px 0 var(--model); padding-left: .7rem; }
.facts th { color: var(--muted); }
.facts td { overflow-wrap: anywhere; }
svg text { font-family: inherit !important; }
.plain svg { min-width: 30rem; }
.wide svg { min-width: min(42rem, 190vw); }
dt { font-weight: 650; margin-top: .7rem; }
dd { margin: .1rem 0 0; max-width: 46rem; }
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

_BODY = """<main>
<h1>$title</h1>
<p class="lead">$lead</p>
$rest
<section><h2>$board</h2><div class="scroll" tabindex="0">$leaderboard</div></section>
$training
<section><h2>$against</h2>$pictures</section>
<section><h2>The model</h2><div class="scroll" tabindex="0">$facts</div></section>
<section><h2>How to read this</h2>$how_to_read</section>
</main>
<footer>$attribution</footer>"""

# The places to fill are marked last, so that a dollar sign in the style sheet can never be taken for one.
_FRAME = document("@title", "@body", _CSS, dark=True).replace("$", "$$")
PAGE = Template(_FRAME.replace("@title", "$title").replace("@body", _BODY))
