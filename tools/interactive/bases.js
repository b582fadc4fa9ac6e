// Base distributions: densities in one and two dimensions, and samples from fixed random numbers.

const BASES = { normal: "Normal", uniform: "Uniform", student: "Student-t", mixture: "Two normals" };
const LOG_TWO_PI = Math.log(2 * Math.PI);

function logGamma(x) { // Lanczos' approximation
  const c = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 1.208650973866179e-3,
    -5.395239384953e-6];
  let sum = 1.000000000190015;
  for (let i = 0; i < 6; i++) sum += c[i] / (x + 1 + i);
  return (x + 0.5) * Math.log(x + 5.5) - (x + 5.5) + Math.log(2.5066282746310005 * sum / x);
}

// The log-density of one coordinate, in units of the scale and around the centre.
function standardLogDensity({ kind, extra }) {
  if (kind === "uniform") return (u) => (Math.abs(u) <= Math.sqrt(3) ? -Math.log(2 * Math.sqrt(3)) : -Infinity);
  if (kind === "student") {
    const constant = logGamma((extra + 1) / 2) - logGamma(extra / 2) - 0.5 * Math.log(extra * Math.PI);
    return (u) => constant - ((extra + 1) / 2) * Math.log1p((u * u) / extra);
  }
  if (kind === "mixture") return (u) => logMeanOfTwo(-0.5 * (u - extra) ** 2, -0.5 * (u + extra) ** 2) - 0.5 * LOG_TWO_PI;
  return (u) => -0.5 * u * u - 0.5 * LOG_TWO_PI;
}

function logMeanOfTwo(a, b) {
  const high = Math.max(a, b);
  return high + Math.log(0.5 * (Math.exp(a - high) + Math.exp(b - high)));
}

// base: {kind, scale, extra, centre: [c1, c2]}; extra are the degrees of freedom, or half the distance of two normals.
function logDensity1(base) {
  const standard = standardLogDensity(base), [c] = base.centre, s = base.scale;
  return (z) => standard((z - c) / s) - Math.log(s);
}

function logDensity2(base) {
  const first = standardLogDensity(base), [c1, c2] = base.centre, s = base.scale, logScale = 2 * Math.log(s);
  const second = base.kind === "mixture" ? standardLogDensity({ kind: "normal" }) : first;
  return (z1, z2) => first((z1 - c1) / s) + second((z2 - c2) / s) - logScale;
}

function randomOf(seed) { // mulberry32
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Samples of a base. The random numbers are the same for all bases, so that points move smoothly with the controls.
function samplesOf(base, n, seed = 1) {
  const random = randomOf(seed), x = new Float32Array(n), y = new Float32Array(n);
  const draw = (u, v) => {
    if (base.kind === "uniform") return Math.sqrt(3) * (2 * u - 1);
    const square = base.kind === "student" ? base.extra * ((1 - u) ** (-2 / base.extra) - 1) : -2 * Math.log(1 - u);
    return Math.sqrt(square) * Math.cos(2 * Math.PI * v); // Box and Muller 1958; Bailey 1994 for Student's t
  };
  for (let i = 0; i < n; i++) {
    const shift = base.kind === "mixture" ? base.extra * (random() < 0.5 ? -1 : 1) : 0 * random();
    x[i] = base.centre[0] + base.scale * (draw(random(), random()) + shift);
    y[i] = base.centre[1] + base.scale * draw(random(), random());
  }
  return { x, y };
}
