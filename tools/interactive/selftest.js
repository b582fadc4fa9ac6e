// With the address ...#selftest the page drives its own controls and writes what it found into #selftest-result.

function selfTest(plane, line) {
  const errors = [], report = { flows: 0, worstPoint: 0, worstLogDet: 0, masses: [], controls: {}, errors };
  addEventListener("error", (event) => errors.push(String(event.message)));
  addEventListener("securitypolicyviolation", (event) => errors.push(`blocked ${event.blockedURI}`));
  const differs = (a, b) => Math.abs(a - b) / Math.max(1, Math.abs(b));

  function hashOf(id) { // FNV-1a over the pixels
    const canvas = byId(id), pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let hash = 2166136261;
    for (let i = 0; i < pixels.length; i++) hash = Math.imul(hash ^ pixels[i], 16777619);
    return hash >>> 0;
  }

  function set(id, value) {
    const element = byId(id), isChips = element.classList.contains("chips");
    const target = isChips ? element.querySelector(`input[value="${value}"]`) : element;
    if (target.type === "checkbox" || target.type === "radio" || target.type === "button") return target.click();
    target.value = value;
    target.dispatchEvent(new Event(target.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
  }

  // Whether every one of some values of a control gives another picture.
  function changes(id, values, canvas) {
    const hashes = values.map((value) => (set(id, value), hashOf(canvas)));
    report.controls[`${canvas}: ${id}`] = new Set(hashes).size === values.length;
  }

  function comparePoints() {
    const out = [0, 0, 0, 0];
    for (const [name, { points }] of Object.entries(DATA.flows)) {
      const layers = layersOf(name), floats = floatsOf(points);
      for (let i = 0; i < floats.length; i += 5) {
        const path = pathOf(layers, floats.subarray(i, i + 1), floats.subarray(i + 1, i + 2)), end = path[path.length - 1];
        const point = Math.max(differs(end.x[0], floats[i + 2]), differs(end.y[0], floats[i + 3]));
        const logDet = differs(end.logDet[0], floats[i + 4]);
        if (!(point < 1e-3 && logDet < 1e-3)) errors.push(`${name}: point ${point}, log-determinant ${logDet}`);
        report.worstPoint = Math.max(report.worstPoint, point);
        report.worstLogDet = Math.max(report.worstLogDet, logDet);
      }
      report.flows++;
    }
    for (const [map, { parameters, points }] of Object.entries(DATA.scalars)) {
      for (const [z, x, logSlope] of points) {
        const [value, slope] = SCALARS[map](parameters, z);
        const worst = Math.max(differs(value, x), differs(Math.log(slope), logSlope));
        report.worstScalar = Math.max(report.worstScalar || 0, worst);
        if (!(worst < 1e-3)) errors.push(`${map} at ${z}: ${value}, ${Math.log(slope)}, not ${x}, ${logSlope}`);
      }
    }
  }

  // The density integrates to one after any number of layers, whole or not.
  function integrate() {
    for (const family of Object.keys(FAMILIES)) {
      const count = plane.counts(family, "moons").pop();
      const mesh = adaptiveMesh(layersOf(`${family}/moons/${count}`));
      const log = logDensity2({ kind: "mixture", scale: 0.9, extra: 1.5, centre: [0.3, -0.2] });
      for (const time of [0, 0.37 * count, count]) {
        const { mass } = massOf(mesh, at(mesh.path, time), log);
        report.masses.push(Math.round(1e4 * mass) / 1e4);
        if (!(Math.abs(mass - 1) < 0.05)) errors.push(`${family}, layer ${time}: mass ${mass}`);
      }
    }
    for (const kind of Object.keys(BASES)) {
      set("line-base", kind);
      for (const map of Object.keys(MAPS)) {
        set("map", map);
        const [below, beside] = line.state.areas, masses = line.state.masses;
        if (!masses.every((mass) => Math.abs(mass - 1) < 0.03)) errors.push(`${map}, ${kind}: masses ${masses}`);
        if (!(differs(beside, below) < 1e-3)) errors.push(`${map}, ${kind}: strips ${below} and ${beside}`);
      }
    }
  }

  function drive() {
    const picture = "plane-canvas", reset = () => (set("reset"), set("family", "planar"), set("count", 8)); // fast to draw
    reset();
    changes("shape", ["ring", "eight_gaussians", "moons"], picture);
    changes("family", Object.keys(FAMILIES), picture);
    set("family", "planar");
    changes("count", [1, 2, 4, 8, 16, 32], picture);
    reset();
    changes("time", [0, 2, 4.5, 8], picture);
    changes("mode", ["change", "density"], picture);
    for (const id of ["show-grid", "show-samples", "show-data"]) changes(id, [0, 1], picture);
    reset();
    changes("base", Object.keys(BASES), picture);
    changes("base", Object.keys(BASES), "base-canvas");
    changes("extra", [0, 1, 3], picture); // of the mixture, the last base
    changes("scale", [0.5, 1, 1.5], picture);
    changes("centre1", [-1, 0, 1], picture);
    changes("centre2", [-1, 0, 1], "base-canvas");
    reset();
    const before = hashOf(picture);
    byId(picture).dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    report.controls["arrow keys"] = hashOf(picture) !== before;
    for (const id of ["back", "forward"]) changes(id, [0, 1], picture);
    set("play");
    const isPlaying = byId("play").getAttribute("aria-pressed") === "true";
    plane.advance(0.5);
    report.controls.play = isPlaying && plane.state.time > 0 && plane.state.time < plane.state.count;
    set("play");
    plane.drawFilm();
    byId("film").children[1].click();
    report.controls.film = plane.state.time === 1;
    reset();
    const canvas = "line-canvas";
    changes("map", Object.keys(MAPS), canvas); // the last one is the spline
    changes("knot", [0, 1, 2], canvas);
    changes("map-place", [1.6, 2, 3], canvas);
    changes("map-value", [2.5, 3, 3.5], canvas);
    changes("map-slope", [0.2, 1, 4], canvas);
    set("map", "affine");
    for (const id of ["map-shift", "map-scale"]) changes(id, [0.5, 1, 2], canvas);
    set("map", "sinhArcsinh");
    for (const id of ["map-skew", "map-tail"]) changes(id, [0.5, 1, 1.5], canvas);
    changes("line-base", Object.keys(BASES), canvas);
    changes("line-scale", [0.5, 1, 1.5], canvas);
    changes("strip", [-1, 0, 1], canvas);
    for (const [name, isGood] of Object.entries(report.controls)) if (!isGood) errors.push(`${name}: the picture did not change`);
  }

  function checkNames() {
    for (const element of document.querySelectorAll("input, select, button, canvas")) {
      const isNamed = element.getAttribute("aria-label") || element.getAttribute("aria-hidden") || element.labels?.length ||
        (element.tagName === "BUTTON" && element.textContent.trim());
      if (!isNamed) errors.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    }
    const loaded = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
    if (loaded.length) errors.push(`requests: ${loaded}`);
    if (document.documentElement.scrollWidth > innerWidth) errors.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  }

  for (const step of [comparePoints, integrate, drive, checkNames]) {
    const start = performance.now();
    try {
      step();
    } catch (error) {
      errors.push(`${step.name}: ${error.stack}`);
    }
    report[`${step.name}Seconds`] = (performance.now() - start) / 1000;
  }
  byId("selftest-result").textContent = JSON.stringify(report);
}
