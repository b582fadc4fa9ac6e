"""Style sheets of the reports, in addition to that of all pages, and explanations for the report of a fit."""

CSS = """
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

# For the sections that only the report of a fit has.
FIT_CSS = """
:root { --bad: #b3261e; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #57c878; } }
h1, .lead, .verdict, figcaption { overflow-wrap: anywhere; }
th bdi, td bdi { display: inline-block; max-width: 18rem; overflow-wrap: break-word; }
thead th { vertical-align: bottom; overflow-wrap: normal; }
.verdict { border-left: 4px solid var(--muted); padding-left: .8rem; font-weight: 650; }
.verdict.ok { border-color: var(--good); }
.verdict.failed { border-color: var(--bad); }
.result { white-space: nowrap; font-weight: 650; }
.result.ok { color: var(--good); }
.result.failed { color: var(--bad); }
.result.untested { color: var(--muted); }
.explanation { min-width: 15rem; max-width: 34rem; }
.suggestion { display: block; margin-top: .2rem; }
.cells td, .cells th { padding-right: 1rem; }
.cells thead .number { white-space: normal; min-width: 4.5rem; max-width: 8rem; }
.cells tbody th { min-width: 0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.far { font-weight: 650; box-shadow: inset 0 -2px var(--model); }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--muted); padding: .35rem 0; }
summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--data); outline-offset: 2px; }
.square svg { min-width: 22rem; }
.widest svg { min-width: min(60rem, 240vw); }
@media (max-width: 40rem) {
  h1 { font-size: 1.45rem; } .lead { font-size: 1.08rem; } table { font-size: .88rem; }
  .tests thead { display: none; }
  .tests tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .tests td, .tests th { display: inline; border: 0; padding: 0 .6rem 0 0; font-weight: 650; }
  .tests .number { display: inline-block; font-weight: 400; }
  .tests .number::before { content: attr(data-head) " "; color: var(--muted); }
  .tests .explanation { display: block; min-width: 0; font-weight: 400; padding-top: .2rem; }
}
@media print {
  :root { --data: #0072b2; --model: #d55e00; --ink: #24292f; --muted: #6a737d; --line: #d8dee4; --paper: #ffffff;
    --soft: #f5f7f9; --bad: #b3261e; --good: #1a7f37; }
  main, footer { max-width: none; }
  table { font-size: .75rem; } .cells td, .cells th { padding-right: .5rem; } .explanation { min-width: 0; }
  h2, h3, dt { break-after: avoid; } tr, figure, dd { break-inside: avoid; } section { break-inside: auto; }
  details::details-content { content-visibility: visible; display: block; block-size: auto; }
}
"""

LEADERBOARD_TERMS = (
    (
        "Nats per row",
        "The mean of the natural logarithm of the model's density at rows not used in training, in the units of the "
        "data. Higher is better. The number itself depends on those units (metres or millimetres); differences "
        "between models do not.",
    ),
    (
        "Gain",
        "A gain of 0.7 nats means that held-out rows are twice as likely, a gain of 2.3 nats ten times as likely, in "
        "the geometric mean over rows.",
    ),
    (
        "\N{PLUS-MINUS SIGN}",
        "One standard error of the mean over the held-out rows. All models are scored on the same rows, so the "
        "difference of two models is usually more precise than either number.",
    ),
)

TRAINING_TERMS = (
    (
        "Training curve",
        "The dot marks the selected weights. Training rows far above validation rows mean that the model overfits.",
    ),
)

CORNER_TERMS = (
    (
        "Corner plot",
        "Data are blue, samples of the model orange. Filled and outlined regions are the smallest that contain "
        "25, 50, 75 and 95 % of the rows. The axes leave out the last 0.1 % of the data at either end.",
    ),
)
