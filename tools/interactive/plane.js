// The panel in the plane: state, controls and drawing.

const FAMILIES = { linear: "Linear", planar: "Planar", radial: "Radial", affine: "Affine coupling", spline: "Spline coupling",
  autoregressive: "Autoregressive", residual: "Residual" };
const SHAPES = { moons: "two moons", ring: "ring", eight_gaussians: "8 Gaussians" };
const EXTRAS = { student: ["Degrees of freedom", 1, 30, 1, 3], mixture: ["Half distance", 0, 3, 0.1, 2] };
const REACH = 3.3, GRID_REACH = 3, DET_RANGE = 3, N_SAMPLES = 700, FILM = 9, BASE_REACH = 4.5;

function planePanel() {
  const start = { family: "spline", shape: "moons", count: 8, time: 8, mode: "density", grid: true, samples: true,
    data: false, base: { kind: "normal", scale: 1, extra: 3, centre: [0, 0] }, probe: [0.6, 0.9] };
  const state = structuredClone(start), setters = {}, cache = new Map();
  const lines = gridLines();
  let flow, samples, playing = 0, filmTimer = 0, rowsOf = {};

  const counts = (family, shape) => Object.keys(DATA.flows).filter((name) => name.startsWith(`${family}/${shape}/`))
    .map((name) => Number(name.split("/")[2])).sort((a, b) => a - b);
  const flowName = () => `${state.family}/${state.shape}/${state.count}`;

  function loadFlow() {
    const name = flowName();
    if (!cache.has(name)) {
      if (cache.size > 11) cache.delete(cache.keys().next().value);
      const layers = layersOf(name);
      cache.set(name, { layers, mesh: adaptiveMesh(layers), lines: pathOf(layers, lines.x, lines.y) });
    }
    flow = cache.get(name);
    loadSamples();
  }

  function loadSamples() {
    const { x, y } = samplesOf(state.base, N_SAMPLES);
    samples = pathOf(flow.layers, x, y);
  }

  const changedFlow = () => (loadFlow(), showControls(), redraw());
  const changedBase = () => (loadSamples(), showControls(), redraw());

  function setCount(count) {
    const share = state.time / state.count;
    state.count = count;
    state.time = Math.round(share * count * 20) / 20;
  }

  function showControls() {
    const available = counts(state.family, state.shape);
    if (!available.includes(state.count)) setCount(available.filter((k) => k < state.count).pop() || available[0]);
    fillChips("count", Object.fromEntries(available.map((k) => [k, k])), state.count, (value) => (setCount(Number(value)), changedFlow()));
    for (const article of document.querySelectorAll("article")) article.hidden = article.dataset.family !== state.family;
    const extra = EXTRAS[state.base.kind], field = byId("extra-field");
    field.style.display = extra ? "" : "none";
    if (extra) {
      field.querySelector("label").textContent = extra[0];
      Object.assign(byId("extra"), { min: extra[1], max: extra[2], step: extra[3] });
    }
    byId("time").max = state.count;
    for (const [id, value] of [["scale", state.base.scale], ["extra", state.base.extra], ["centre1", state.base.centre[0]],
      ["centre2", state.base.centre[1]]]) setters[id](value);
  }

  const logBase = () => logDensity2(state.base);
  const caption = (time) => (Number.isInteger(time) ? (time === 0 ? "Base, before the first layer" : `After layer ${time} of ${state.count}`)
    : `From layer ${Math.floor(time)} to ${Math.ceil(time)} of ${state.count}`);

  function picture(canvas, size, time, given = {}) {
    const { small, reach, mode, hasSamples } = { small: false, reach: REACH, mode: state.mode, hasSamples: state.samples, ...given };
    const colour = colours(), context = sized(canvas, size, size), toX = (v) => ((v + reach) * size) / (2 * reach);
    const toY = (v) => ((reach - v) * size) / (2 * reach), moved = at(flow.mesh.path, time), log = logBase();
    const { mass, peak } = massOf(flow.mesh, moved, log), pixels = Math.round(Math.min(size * (small ? 1 : 1.25), 640));
    const options = { mode, logBase: log, peak, table: colourTable(colour.stops[mode]), square: GRID_REACH,
      detRange: DET_RANGE };
    const image = meshImage(pixels, reach, flow.mesh, moved, options), buffer = document.createElement("canvas");
    buffer.width = buffer.height = pixels;
    buffer.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(buffer, 0, 0, size, size);
    if (state.grid) drawLines(context, at(flow.lines, time), toX, toY, colour, small);
    if (state.data && !small) drawDots(context, rows(), toX, toY, colour.rows, 1.3, 0.45);
    const [radius, alpha, every] = small ? [0.6, 0.6, 4] : [1.7, 0.85, 1];
    if (hasSamples) drawDots(context, at(samples, time), toX, toY, colour.dots, radius, alpha, every);
    return { context, toX, toY, colour, mass };
  }

  function rows() {
    if (!rowsOf[state.shape]) {
      const floats = floatsOf(DATA.shapes[state.shape].rows);
      rowsOf[state.shape] = { x: floats.filter((_, i) => i % 2 === 0), y: floats.filter((_, i) => i % 2 === 1) };
    }
    return rowsOf[state.shape];
  }

  // One point through all layers up to the present time, as a line with a dot at each layer.
  function drawProbe({ context, toX, toY, colour }) {
    const path = pathOf(flow.layers, Float32Array.of(state.probe[0]), Float32Array.of(state.probe[1])), now = at(path, state.time);
    const whole = path.slice(0, Math.ceil(state.time)), points = [...whole, now].map((p) => [toX(p.x[0]), toY(p.y[0])]);
    context.strokeStyle = colour.ink;
    context.lineWidth = 1;
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    context.stroke();
    points.forEach(([x, y], i) => {
      context.beginPath();
      context.arc(x, y, i === points.length - 1 ? 5 : 2.2, 0, 2 * Math.PI);
      context.fillStyle = i === 0 && state.time > 0 ? colour.base : colour.ink;
      context.fill();
      context.strokeStyle = colour.panel;
      context.stroke();
    });
    return { x: [now.x[0], now.y[0]], logDet: now.logDet[0], logProb: logBase()(...state.probe) - now.logDet[0] };
  }

  function draw() {
    const canvas = byId("plane-canvas"), size = canvas.clientWidth, main = picture(canvas, size, state.time);
    const probe = drawProbe(main);
    drawBase();
    setters.time(state.time);
    byId("time-output").textContent = `${format(state.time, Number.isInteger(state.time) ? 0 : 2)} / ${state.count}`;
    byId("stage-title").textContent = caption(state.time);
    showLegend();
    showReadout(main.mass, probe);
    const marked = [...byId("film").children].filter((b) => Number(b.dataset.layer) <= state.time + 1e-9).pop();
    for (const button of byId("film").children) button.setAttribute("aria-current", String(button === marked));
    canvas.setAttribute("aria-label", `${caption(state.time)}: ${FAMILIES[state.family]} flow fitted to ${SHAPES[state.shape]}, ` +
      `base ${BASES[state.base.kind]}. Colour: ${state.mode === "density" ? "density" : "log of the determinant"}. ` +
      `The point ${format(state.probe[0])}, ${format(state.probe[1])} is at ${format(probe.x[0])}, ${format(probe.x[1])}.`);
  }

  // Everything, the film too, a moment later.
  function redraw() {
    draw();
    clearTimeout(filmTimer);
    filmTimer = setTimeout(drawFilm, 120);
  }

  function drawBase() {
    const canvas = byId("base-canvas"), options = { reach: BASE_REACH, small: true, mode: "density", hasSamples: false };
    const { context, toX, toY, colour } = picture(canvas, canvas.clientWidth, 0, options);
    context.strokeStyle = colour.data;
    context.lineWidth = 2;
    const [x, y] = [toX(state.base.centre[0]), toY(state.base.centre[1])];
    context.strokeRect(x - 6, y, 12, 0);
    context.strokeRect(x, y - 6, 0, 12);
    canvas.setAttribute("aria-label", `Base density: ${BASES[state.base.kind]}, scale ${format(state.base.scale)}, centre ` +
      `${format(state.base.centre[0])}, ${format(state.base.centre[1])}. The sliders of the base do the same as dragging.`);
  }

  function drawFilm() {
    const film = byId("film"), n = Math.min(innerWidth < 700 ? 5 : FILM, state.count + 1);
    const steps = Array.from({ length: n }, (_, i) => Math.round((i * state.count) / (n - 1)));
    if (film.dataset.steps !== steps.join()) {
      film.dataset.steps = steps.join();
      film.replaceChildren(...steps.map((layer) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", onclick: () => (stop(), (state.time = layer), draw()) });
        button.dataset.layer = layer;
        button.append(document.createElement("canvas"), layer === 0 ? "base" : String(layer));
        button.firstChild.setAttribute("aria-hidden", "true");
        button.setAttribute("aria-label", layer === 0 ? "Base" : `Layer ${layer}`);
        return button;
      }));
      for (const button of film.children) button.setAttribute("aria-current", String(Number(button.dataset.layer) === state.time));
    }
    for (const button of film.children) {
      const canvas = button.firstChild;
      picture(canvas, Math.max(canvas.clientWidth, 40), Number(button.dataset.layer), { small: true });
    }
  }

  function showLegend() {
    const { stops } = colours(), text = state.mode === "density" ? ["low", "high density"] : [`−${DET_RANGE}`, `+${DET_RANGE} log|det|`];
    const bar = document.createElement("i");
    bar.style.background = `linear-gradient(90deg, ${stops[state.mode].join()})`;
    byId("legend").replaceChildren(text[0], bar, text[1]);
  }

  function showReadout(mass, probe) {
    const { logLikelihood } = DATA.flows[flowName()], isFitted = JSON.stringify(state.base) === JSON.stringify(
      { ...start.base, extra: state.base.extra });
    fillReadout("plane-readout", [
      ["Integral of the density", Math.abs(mass - 1) < 0.05 ? format(mass, 3) : "not resolved by the cells"],
      ["Point z", state.probe.map((v) => format(v)).join(", ")],
      ["is now at", probe.x.map((v) => format(v)).join(", ")],
      ["log|det| there", format(probe.logDet)],
      ["Log-density there", Number.isFinite(probe.logProb) ? `${format(probe.logProb)} nats` : "zero density"],
      ["Test log-likelihood of the flow", isFitted ? `${format(logLikelihood)} nats` : "fitted to another base"],
      ["of the shape's own density", `${format(DATA.shapes[state.shape].logLikelihood)} nats`],
    ]);
  }

  function reset() {
    stop();
    Object.assign(state, structuredClone(start));
    byId("family").value = state.family;
    byId("base").value = state.base.kind;
    for (const name of ["grid", "samples", "data"]) byId(`show-${name}`).checked = state[name];
    for (const name of ["shape", "mode"]) document.querySelector(`#${name} input[value="${state[name]}"]`).checked = true;
    changedFlow();
  }

  function stop() {
    cancelAnimationFrame(playing);
    clearTimeout(playing);
    playing = 0;
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
  }

  // Moves on by some seconds: smoothly, or in whole layers where the reader asked for less motion.
  function advance(seconds) {
    const rate = state.count / Math.min(12, Math.max(2.5, 0.9 * state.count));
    state.time = reducedMotion() ? Math.min(state.count, Math.floor(state.time) + 1) : Math.min(state.count, state.time + seconds * rate);
    draw();
    if (state.time >= state.count) {
      stop();
      byId("plane-status").textContent = caption(state.time);
    }
  }

  function play() {
    if (playing) return stop();
    if (state.time >= state.count) state.time = 0;
    byId("play").textContent = "Pause";
    byId("play").setAttribute("aria-pressed", "true");
    let before = performance.now();
    const tick = (now) => {
      advance(Math.min((now - before) / 1000, 0.1));
      before = now;
      if (playing) playing = reducedMotion() ? setTimeout(() => tick(performance.now()), 1000) : requestAnimationFrame(tick);
    };
    playing = reducedMotion() ? setTimeout(() => tick(performance.now()), 400) : requestAnimationFrame(tick);
  }

  function connect() {
    fillSelect("family", FAMILIES, state.family);
    fillSelect("base", BASES, state.base.kind);
    fillChips("shape", SHAPES, state.shape, (value) => ((state.shape = value), showControls(), changedFlow()));
    fillChips("mode", { density: "density", change: "log|det|" }, state.mode, (value) => ((state.mode = value), redraw()));
    byId("family").addEventListener("change", (e) => ((state.family = e.target.value), showControls(), changedFlow()));
    byId("base").addEventListener("change", (e) => {
      state.base.kind = e.target.value;
      if (EXTRAS[state.base.kind]) state.base.extra = EXTRAS[state.base.kind][4];
      changedBase();
    });
    setters.time = onSlide("time", 2, (value) => (stop(), (state.time = value), draw()));
    setters.scale = onSlide("scale", 2, (value) => ((state.base.scale = value), changedBase()));
    setters.extra = onSlide("extra", 1, (value) => ((state.base.extra = value), changedBase()));
    for (const i of [0, 1]) setters[`centre${i + 1}`] = onSlide(`centre${i + 1}`, 2, (v) => ((state.base.centre[i] = v), changedBase()));
    for (const name of ["grid", "samples", "data"]) {
      byId(`show-${name}`).addEventListener("change", (e) => ((state[name] = e.target.checked), redraw()));
    }
    byId("play").addEventListener("click", play);
    byId("reset").addEventListener("click", reset);
    byId("back").addEventListener("click", () => (stop(), (state.time = Math.max(0, Math.ceil(state.time) - 1)), draw()));
    byId("forward").addEventListener("click", () => (stop(), (state.time = Math.min(state.count, Math.floor(state.time) + 1)), draw()));
    connectProbe();
    connectBase();
  }

  function connectProbe() {
    const canvas = byId("plane-canvas");
    const point = (event) => {
      const box = canvas.getBoundingClientRect(), moved = at(flow.mesh.path, state.time), n = moved.x.length;
      const x = ((event.clientX - box.left) / box.width - 0.5) * 2 * REACH, y = (0.5 - (event.clientY - box.top) / box.height) * 2 * REACH;
      let best = Infinity, node = 0;
      for (let i = 0; i < n; i++) {
        const distance = (moved.x[i] - x) ** 2 + (moved.y[i] - y) ** 2;
        if (distance < best) (best = distance), (node = i);
      }
      state.probe = [flow.mesh.x[node], flow.mesh.y[node]];
      draw();
    };
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && event.buttons === 1 && point(event));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      state.probe = state.probe.map((v, i) => Math.max(-4, Math.min(4, v + step[i])));
      draw();
    });
  }

  function connectBase() {
    const canvas = byId("base-canvas");
    const move = (event) => {
      const box = canvas.getBoundingClientRect(), within = (v) => Math.round(20 * Math.max(-2, Math.min(2, v))) / 20;
      state.base.centre = [within(((event.clientX - box.left) / box.width - 0.5) * 2 * BASE_REACH),
        within((0.5 - (event.clientY - box.top) / box.height) * 2 * BASE_REACH)];
      changedBase();
    };
    canvas.addEventListener("pointerdown", (event) => (canvas.setPointerCapture(event.pointerId), move(event)));
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && move(event));
  }

  // A link such as #family=planar&shape=ring&layers=8 opens the page in that state.
  function readLink() {
    const link = new URLSearchParams(location.hash.slice(1));
    if (FAMILIES[link.get("family")]) start.family = link.get("family");
    if (SHAPES[link.get("shape")]) start.shape = link.get("shape");
    const available = counts(start.family, start.shape), wanted = Number(link.get("layers")) || start.count;
    start.count = available.includes(wanted) ? wanted : available[available.length - 1];
    if (BASES[link.get("base")]) start.base.kind = link.get("base");
    start.time = link.has("time") ? Math.max(0, Math.min(start.count, Number(link.get("time")) || 0)) : start.count;
    if (link.get("colour") === "log-det") start.mode = "change";
  }

  connect();
  readLink();
  reset();
  drawFilm();
  return { draw, redraw, drawFilm, advance, counts, state };
}
