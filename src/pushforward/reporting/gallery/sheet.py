"""Style sheet of the gallery, in addition to that of all pages."""

CSS = """
main, footer { max-width: 66rem; }
.lead { max-width: none; }
a { color: var(--data); text-decoration-thickness: 1px; text-underline-offset: .18em; }
article { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: .2rem; }
article h2 { font-size: 1.45rem; margin: 1.4rem 0 .3rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .3rem; }
.formula { font-family: "STIX Two Text", "Cambria Math", Cambria, "DejaVu Serif", Georgia, serif; font-size: 1.22rem;
  line-height: 1.9; background: var(--soft); padding: .5rem .9rem; max-width: none; border-radius: 4px; }
.formula sub, .formula sup { font-size: .68em; line-height: 0; }
.note { color: var(--muted); }
.nats { width: 100%; font-size: .92rem; margin-top: .8rem; table-layout: fixed; }
.nats thead th:first-child { width: 22%; }
.nats th, .nats td { padding: .34rem .3rem; vertical-align: middle; }
.nats thead th { text-align: center; font-size: .8rem; vertical-align: bottom; line-height: 1.25; }
.nats tbody th { min-width: 0; }
.nats td { text-align: center; white-space: nowrap; }
.nats img { width: 100%; max-width: 84px; display: block; margin: 0 auto .3rem; }
.nats .truth > * { border-bottom: 2px solid var(--line); color: var(--muted); }
.nats .best { font-weight: 700; }
.grid { display: grid; grid-template-columns: repeat(4, 1fr); gap: .9rem; margin-top: .7rem; }
.grid figure { margin: 0; }
.grid figcaption { margin-top: .25rem; line-height: 1.35; }
.grid b { color: var(--ink); font-weight: 600; }
.grid span { white-space: nowrap; }
img.picture { display: block; width: 100%; aspect-ratio: 1; border: 1px solid var(--line); background: #fff; }
.none { display: grid; place-items: center; width: 100%; aspect-ratio: 1; border: 1px dashed var(--line);
  color: var(--muted); text-align: center; padding: .5rem; font-size: .9rem; }
.depth > b { display: block; margin-bottom: .2rem; }
.depth figure + figure { margin-top: .6rem; }
.halves { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; }
.matrices { display: flex; flex-wrap: wrap; gap: .9rem 1.4rem; align-items: flex-start; margin-top: .7rem; }
.matrices figure { margin: 0; max-width: 170px; }
.matrices figcaption { line-height: 1.3; margin-top: .3rem; }
.on { fill: var(--ink); opacity: .72; }
.above { fill: var(--model); } .below { fill: var(--data); }
.edge { fill: none; stroke: var(--muted); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.cost { width: 100%; max-width: 30rem; font-size: 14px; }
.cost text { fill: var(--ink); font-family: inherit; }
.cost .rule { stroke: var(--line); fill: none; }
.cost polyline { fill: none; stroke-width: 1.8; }
.cost polyline.above { stroke: var(--model); } .cost polyline.below { stroke: var(--data); }
.cost text.above { fill: #b34700; } .cost text.below { fill: var(--data); }
@media (max-width: 700px) {
  main, footer { padding: 0 1rem; }
  .grid { grid-template-columns: repeat(2, 1fr); }
  .halves { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .formula { font-size: 1.1rem; padding: .5rem .7rem; }
  .nats, .nats thead, .nats tbody { display: block; }
  .nats tr { display: grid; grid-template-columns: repeat(8, 1fr); border-bottom: 1px solid var(--line);
    padding: .3rem 0; }
  .nats th, .nats td { border: 0; padding: .1rem 0; font-size: 12px; letter-spacing: -.02em; }
  .nats tbody th { grid-column: 1 / -1; font-size: .92rem; letter-spacing: 0; }
  .nats .truth > * { border: 0; }
  .nats thead th:first-child { display: none; }
  .nats thead th { display: flex; flex-direction: column-reverse; align-items: center; gap: .3rem; }
  .nats thead img { width: 84%; margin: 0; }
  .nats thead span { writing-mode: vertical-rl; transform: rotate(180deg); }
}
@media print { article { break-before: page; } figure { break-inside: avoid; } }
"""
