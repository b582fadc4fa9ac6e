// The panel in one dimension: a scalar map, the density of the base below it and the density of the data at its left.

const MAPS = { affine: "affine", sinhArcsinh: "sinh-arcsinh", spline: "spline" };
const LINE_REACH = 5, SPLINE_BOUND = 4, STRIP = 0.5, KNOT_GAP = 0.25, SLOPES = [0.05, 6];

// [x, T'(z)] of the scalar maps of the library.
const SCALARS = {
  affine: ({ shift, scale }, z) => [scale * z + shift, scale],
  sinhArcsinh: ({ skew, tail }, z) => {
    const inner = tail * (Math.asinh(z) + skew);
    return [Math.sinh(inner), tail * Math.cosh(inner) / Math.hypot(1, z)];
  },
  spline: ({ knots, bound }, z) => {
    if (z < -bound || z >= bound) return [z, 1];
    const all = [[-bound, -bound, 1], ...knots, [bound, bound, 1]], pair = [0, 0];
    const i = all.findLastIndex(([place]) => z >= place), [left, bottom, slope0] = all[i], [right, top, slope1] = all[i + 1];
    const bin = { left, bottom, width: right - left, height: top - bottom, slope0, slope1 };
    rationalQuadratic(bin, (z - left) / bin.width, pair);
    return pair;
  },
};

function linePanel() {
  const start = { map: "spline", strip: 0.5, knot: 1, base: { kind: "normal", scale: 1, extra: 3, centre: [0, 0] },
    affine: { shift: 0.7, scale: 1.6 }, sinhArcsinh: { skew: 0.3, tail: 1.3 },
    spline: { bound: SPLINE_BOUND, knots: [[-1.2, -2.2, 0.7], [0, -0.3, 3], [1.2, 2.1, 0.6]] } };
  const state = structuredClone(start), setters = {};
  const T = (z) => SCALARS[state.map](state[state.map], z);
  const within = (value, low, high) => Math.max(low, Math.min(high, value));

  const FIELDS = {
    affine: [["shift", "Shift", -3, 3, 0.05], ["scale", "Slope", 0.2, 4, 0.05]],
    sinhArcsinh: [["skew", "Skewness", -1.5, 1.5, 0.05], ["tail", "Tail weight", 0.4, 2, 0.05]],
    spline: [["place", "Knot at z", -SPLINE_BOUND, SPLINE_BOUND, 0.05], ["value", "Value x", -SPLINE_BOUND, SPLINE_BOUND, 0.05],
      ["slope", "Slope", ...SLOPES, 0.05]],
  };

  function showFields() {
    const host = byId("map-fields");
    host.replaceChildren();
    if (state.map === "spline") addChips(host);
    for (const [name, text, min, max, step] of FIELDS[state.map]) {
      const field = document.createElement("div"), label = document.createElement("label");
      const input = document.createElement("input"), output = document.createElement("output"), id = `map-${name}`;
      field.className = "field";
      Object.assign(label, { htmlFor: id, textContent: text });
      Object.assign(input, { type: "range", id, min, max, step });
      output.htmlFor = id;
      field.append(label, input, output);
      host.append(field);
      setters[name] = onSlide(id, 2, (value) => (state.map === "spline" ? moveKnot(name, value) : (state[state.map][name] = value), draw()));
    }
    showValues();
    byId("line-hint").textContent = state.map === "spline" ? "Drag the knots in the picture. Outside the knots’ box the map is the identity."
      : state.map === "affine" ? "An affine map only shifts and scales: a normal stays normal."
        : "Tail weight above 1 makes both tails heavier, below 1 lighter.";
  }

  function addChips(host) {
    const field = document.createElement("div");
    field.className = "field";
    field.innerHTML = '<span class="name" id="knot-name">Knot</span><div class="chips" role="radiogroup" aria-labelledby="knot-name" id="knot"></div>';
    host.append(field);
    fillChips("knot", { 0: "1", 1: "2", 2: "3" }, state.knot, (value) => ((state.knot = Number(value)), showValues(), draw()));
  }

  function showValues() {
    if (state.map !== "spline") return FIELDS[state.map].forEach(([name]) => setters[name](state[state.map][name]));
    const [place, value, slope] = state.spline.knots[state.knot];
    setters.place(place);
    setters.value(value);
    setters.slope(slope);
  }

  // A knot stays between its neighbours, so that the map stays monotone.
  function moveKnot(name, value) {
    const { knots, bound } = state.spline, knot = knots[state.knot], column = { place: 0, value: 1, slope: 2 }[name];
    const before = knots[state.knot - 1] || [-bound, -bound], after = knots[state.knot + 1] || [bound, bound];
    knot[column] = column === 2 ? value : within(value, before[column] + KNOT_GAP, after[column] - KNOT_GAP);
    showValues();
  }

  function geometry() {
    const canvas = byId("line-canvas"), width = canvas.clientWidth, band = 0.2 * width, plot = width - band;
    const toX = (z) => band + ((z + LINE_REACH) * plot) / (2 * LINE_REACH), toY = (x) => ((LINE_REACH - x) * plot) / (2 * LINE_REACH);
    return { canvas, width, band, plot, toX, toY };
  }

  // Points z, fine enough for every curve, with both densities; a uniform base gets points at both sides of its edges.
  function curve() {
    const log = logDensity1(state.base), edge = Math.sqrt(3) * state.base.scale, z = [];
    for (let i = 0; i <= 1600; i++) z.push(-40 + i / 20);
    for (let i = 0; i <= 2000; i++) z.push(-8 + i / 125);
    if (state.base.kind === "uniform") for (const side of [-1, 1]) z.push(side * (edge - 1e-9), side * (edge + 1e-9));
    return z.sort((a, b) => a - b).map((value) => {
      const [x, slope] = T(value), p = Math.exp(log(value));
      return { z: value, x, slope, p, px: p / slope };
    });
  }

  function draw() {
    const { canvas, width, band, plot, toX, toY } = geometry(), context = sized(canvas, width, width), colour = colours(), points = curve();
    const inside = points.filter((q) => Math.abs(q.z) <= LINE_REACH), [low, high] = [state.strip - STRIP / 2, state.strip + STRIP / 2];
    const top = Math.max(...inside.map((q) => q.p)), topX = Math.max(...points.filter((q) => Math.abs(q.x) <= LINE_REACH).map((q) => q.px));
    const unit = (0.86 * band) / Math.max(top, topX, 0.35); // one scale for both densities, so that areas compare
    const down = (p) => plot + p * unit, left = (p) => band - p * unit;
    drawFrame(context, colour, { band, plot, width, toX, toY });
    const area = (list, first, step) => {
      context.beginPath();
      list.forEach((q) => context.lineTo(...step(q)));
      for (const q of [list[list.length - 1], list[0]]) context.lineTo(...first(q));
      context.closePath();
    };
    const shown = points.filter((q) => Math.abs(q.x) <= LINE_REACH), below = (q) => [toX(q.z), plot], beside = (q) => [band, toY(q.x)];
    const strip = [{ z: low }, ...points.filter((q) => q.z > low && q.z < high), { z: high }].map((q) => at1(q.z));
    context.save();
    context.beginPath();
    context.rect(0, 0, width, width);
    context.clip();
    for (const [list, first, step, paint] of [[inside, below, (q) => [toX(q.z), down(q.p)], colour.base],
      [shown, beside, (q) => [left(q.px), toY(q.x)], colour.data]]) {
      context.fillStyle = context.strokeStyle = paint;
      context.globalAlpha = 0.16;
      area(list, first, step);
      context.fill();
      context.globalAlpha = 0.75;
      area(strip, first, step);
      context.fill();
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.beginPath();
      list.forEach((q) => context.lineTo(...step(q)));
      context.stroke();
    }
    context.beginPath();
    context.rect(band, 0, plot, plot);
    context.clip();
    drawGuides(context, colour, strip, { band, plot, toX, toY });
    drawCurve(context, colour, inside, { toX, toY });
    context.restore();
    report(strip, points);
  }

  function at1(z) {
    const [x, slope] = T(z), p = Math.exp(logDensity1(state.base)(z));
    return { z, x, slope, p, px: p / slope };
  }

  function drawFrame(context, colour, { band, plot, width, toX, toY }) {
    context.strokeStyle = colour.rule;
    context.lineWidth = 1;
    context.fillStyle = colour.soft;
    context.font = "12px system-ui, sans-serif";
    for (let tick = -4; tick <= 4; tick += 2) {
      context.beginPath();
      context.moveTo(toX(tick), 0);
      context.lineTo(toX(tick), plot);
      context.moveTo(band, toY(tick));
      context.lineTo(width, toY(tick));
      context.stroke();
      context.textAlign = "center";
      context.fillText(format(tick, 0), toX(tick), plot - 5);
      context.textAlign = "left";
      context.fillText(format(tick, 0), band + 5, toY(tick) + 4);
    }
    context.strokeStyle = colour.soft;
    context.strokeRect(band, 0, plot, plot);
    context.font = "italic 15px Georgia, serif";
    context.fillStyle = colour.base;
    context.textAlign = "right";
    context.fillText("base p(z)", width - 8, plot + 20);
    context.fillStyle = colour.data;
    context.textAlign = "left";
    context.fillText("data p(x)", 6, 20);
    context.fillStyle = colour.ink;
    context.fillText("x = T(z)", band + 24, 20);
  }

  function drawGuides(context, colour, strip, { band, plot, toX, toY }) {
    const ends = [strip[0], strip[strip.length - 1]];
    context.beginPath();
    context.moveTo(toX(ends[0].z), plot);
    strip.forEach((q) => context.lineTo(toX(q.z), toY(q.x)));
    context.lineTo(toX(ends[1].z), plot);
    context.fillStyle = colour.base;
    context.globalAlpha = 0.14;
    context.fill();
    context.beginPath();
    context.moveTo(band, toY(ends[0].x));
    strip.forEach((q) => context.lineTo(toX(q.z), toY(q.x)));
    context.lineTo(band, toY(ends[1].x));
    context.fillStyle = colour.data;
    context.fill();
    context.globalAlpha = 1;
  }

  function drawCurve(context, colour, inside, { toX, toY }) {
    context.strokeStyle = colour.ink;
    context.lineWidth = 2.5;
    context.beginPath();
    inside.forEach((q) => context.lineTo(toX(q.z), toY(q.x)));
    context.stroke();
    if (state.map !== "spline") return;
    state.spline.knots.forEach(([place, value], i) => {
      context.beginPath();
      context.arc(toX(place), toY(value), i === state.knot ? 9 : 7, 0, 2 * Math.PI);
      context.fillStyle = i === state.knot ? colour.ink : colour.panel;
      context.fill();
      context.lineWidth = 2;
      context.stroke();
    });
  }

  const trapezoid = (list, x, y) => list.slice(1).reduce((sum, q, i) => sum + ((x(q) - x(list[i])) * (y(q) + y(list[i]))) / 2, 0);

  function report(strip, points) {
    const middle = at1(state.strip), areas = [[(q) => q.z, (q) => q.p], [(q) => q.x, (q) => q.px]];
    const [areaZ, areaX] = areas.map(([x, y]) => trapezoid(strip, x, y));
    state.masses = areas.map(([x, y]) => trapezoid(points, x, y));
    state.areas = [areaZ, areaX];
    fillReadout("line-readout", [["z", format(middle.z)], ["x = T(z)", format(middle.x)], ["p(z)", format(middle.p, 3)],
      ["T′(z)", format(middle.slope, 3)], ["p(x) = p(z) / T′(z)", format(middle.px, 3)],
      ["Area of the strip below", format(areaZ, 4)], ["Area of its image at the left", format(areaX, 4)]]);
    byId("line-canvas").setAttribute("aria-label", `Curve of the ${MAPS[state.map]} map. At z = ${format(middle.z)} it is ` +
      `${format(middle.x)} with slope ${format(middle.slope)}; the base density ${format(middle.p, 3)} becomes ${format(middle.px, 3)}.`);
  }

  function connect() {
    fillSelect("line-base", BASES, state.base.kind);
    fillChips("map", MAPS, state.map, (value) => ((state.map = value), showFields(), draw()));
    byId("line-base").addEventListener("change", (e) => {
      Object.assign(state.base, { kind: e.target.value, extra: EXTRAS[e.target.value]?.[4] ?? 3 });
      draw();
    });
    onSlide("line-scale", 2, (value) => ((state.base.scale = value), draw()));
    onSlide("strip", 2, (value) => ((state.strip = value), draw()));
    const canvas = byId("line-canvas"), local = (event) => {
      const { band, plot } = geometry(), box = canvas.getBoundingClientRect();
      const x = event.clientX - box.left, y = event.clientY - box.top;
      return { z: ((x - band) / plot - 0.5) * 2 * LINE_REACH, x: (0.5 - y / plot) * 2 * LINE_REACH };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (state.map !== "spline") return;
      const p = local(event), distances = state.spline.knots.map(([z, x]) => Math.hypot(z - p.z, x - p.x));
      const nearest = distances.indexOf(Math.min(...distances));
      if (distances[nearest] > 0.9) return;
      state.knot = nearest;
      document.querySelector(`#knot input[value="${nearest}"]`).checked = true;
      canvas.setPointerCapture(event.pointerId);
      showValues();
      draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const p = local(event);
      moveKnot("place", p.z);
      moveKnot("value", p.x);
      draw();
    });
    // a finger on a knot drags it; elsewhere it scrolls the page
    canvas.addEventListener("touchstart", (event) => {
      const p = local(event.touches[0]);
      if (state.map === "spline" && state.spline.knots.some(([z, x]) => Math.hypot(z - p.z, x - p.x) < 0.9)) event.preventDefault();
    }, { passive: false });
  }

  connect();
  showFields();
  draw();
  return { draw, state };
}
