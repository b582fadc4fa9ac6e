// Small helpers for controls and canvases.

const byId = (id) => document.getElementById(id);
const format = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function fillSelect(id, names, selected) {
  byId(id).replaceChildren(...Object.entries(names).map(([value, text]) => new Option(text, value, false, value === selected)));
}

// Radio buttons in place of a list; `changed` gets the value.
function fillChips(id, names, selected, changed) {
  byId(id).replaceChildren(...Object.entries(names).map(([value, text]) => {
    const label = document.createElement("label"), input = document.createElement("input"), span = document.createElement("span");
    Object.assign(input, { type: "radio", name: id, value, checked: value === String(selected) });
    input.addEventListener("change", () => changed(input.value));
    span.textContent = text;
    label.append(input, span);
    return label;
  }));
}

// Calls changed(number) at every movement of a slider, and shows its value.
function onSlide(id, digits, changed) {
  const input = byId(id), show = () => {
    const output = document.querySelector(`output[for="${id}"]`);
    if (output) output.textContent = format(Number(input.value), digits);
  };
  input.addEventListener("input", () => (show(), changed(Number(input.value))));
  show();
  return (value) => ((input.value = value), show()); // sets the slider without a call
}

function colours() {
  const style = getComputedStyle(document.documentElement), read = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["page", "panel", "ink", "soft", "rule", "base", "data", "dots", "rows"];
  const stops = { density: read("density").split(/\s+/), change: read("change").split(/\s+/) };
  return { ...Object.fromEntries(names.map((name) => [name, read(name)])), stops };
}

// The context of a canvas as sharp as the screen, with CSS pixels as units.
function sized(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function fillReadout(id, rows) {
  byId(id).replaceChildren(...rows.map(([name, value]) => {
    const group = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    group.append(dt, dd);
    return group;
  }));
}
