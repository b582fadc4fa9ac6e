// The maps of the library in plain JavaScript. A layer is a function (z1, z2, out): it writes x1, x2, and the trace and
// the determinant of its Jacobian matrix. They are enough for the log-determinant of the blend (1 - t) z + t T(z).

const WIDTH = 16; // units of a hidden layer, as in fits.py

function floatsOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// Reads arrays one after another, in the order in which weights.py writes them.
function readerOf(floats) {
  let at = 0;
  return { take: (n) => floats.subarray(at, (at += n)), isAtEnd: () => at >= floats.length };
}

const softplus = (u) => (u > 30 ? u : Math.log1p(Math.exp(u)));

// Perceptron of one input with two hidden layers of tanh units.
function perceptron(read, nOut) {
  const w1 = read.take(WIDTH), b1 = read.take(WIDTH), w2 = read.take(WIDTH * WIDTH), b2 = read.take(WIDTH);
  const w3 = read.take(nOut * WIDTH), b3 = read.take(nOut);
  const h1 = new Float64Array(WIDTH), h2 = new Float64Array(WIDTH), out = new Float64Array(nOut);
  return (value) => {
    for (let i = 0; i < WIDTH; i++) h1[i] = Math.tanh(w1[i] * value + b1[i]);
    for (let i = 0; i < WIDTH; i++) h2[i] = Math.tanh(dotRow(w2, i, h1) + b2[i]);
    for (let i = 0; i < nOut; i++) out[i] = dotRow(w3, i, h2) + b3[i];
    return out;
  };
}

function dotRow(matrix, row, vector) {
  let sum = 0;
  for (let j = 0, at = row * WIDTH; j < WIDTH; j++) sum += matrix[at + j] * vector[j];
  return sum;
}

const LAYERS = {
  linear(read) {
    const [a, b, c, d] = read.take(4), [e, f] = read.take(2);
    return (z1, z2, out) => {
      out[0] = a * z1 + b * z2 + e;
      out[1] = c * z1 + d * z2 + f;
      out[2] = a + d;
      out[3] = a * d - b * c;
    };
  },
  planar(read) {
    const [v1, v2, w1, w2, bias] = read.take(5), strength = v1 * w1 + v2 * w2;
    return (z1, z2, out) => {
      const h = Math.tanh(w1 * z1 + w2 * z2 + bias), growth = strength * (1 - h * h);
      out[0] = z1 + v1 * h;
      out[1] = z2 + v2 * h;
      out[2] = 2 + growth;
      out[3] = 1 + growth;
    };
  },
  radial(read) {
    const [c1, c2, alpha, m] = read.take(4);
    return (z1, z2, out) => {
      const d1 = z1 - c1, d2 = z2 - c2, k = 1 / (1 + Math.hypot(d1, d2) / alpha);
      const across = 1 + m * k, along = 1 + m * k * k;
      out[0] = c1 + d1 * across;
      out[1] = c2 + d2 * across;
      out[2] = across + along;
      out[3] = across * along;
    };
  },
  affine(read, constants) {
    return coupling(read, 2, (parameters, z, pair) => affine(parameters[0], parameters[1], z, constants.affine, pair));
  },
  spline(read, constants) {
    const box = constants.spline, knots = splineKnots(box);
    return coupling(read, 3 * box.bins - 1, (parameters, z, pair) => inverseSpline(knots(parameters, z), z, pair));
  },
  autoregressive(read, constants) {
    const first = read.take(1)[0], [shift, logScale] = read.take(2), network = perceptron(read, 2), pair = [0, 0];
    return (z1, z2, out) => {
      affine(shift, logScale, first ? z2 : z1, constants.affine, pair);
      const [x, slope] = pair, parameters = network(x);
      affine(parameters[0], parameters[1], first ? z1 : z2, constants.affine, pair);
      out[0] = first ? pair[0] : x;
      out[1] = first ? x : pair[0];
      out[2] = slope + pair[1];
      out[3] = slope * pair[1];
    };
  },
  residual,
};

function coupling(read, nParameters, transformer) {
  const moved = read.take(1)[0], network = perceptron(read, nParameters), pair = [0, 0];
  return (z1, z2, out) => {
    transformer(network(moved ? z1 : z2), moved ? z2 : z1, pair);
    out[0] = moved ? z1 : pair[0];
    out[1] = moved ? pair[0] : z2;
    out[2] = 1 + pair[1];
    out[3] = pair[1];
  };
}

// x = exp(b tanh(s / b)) z + shift: the scale can neither vanish nor overflow.
function affine(shift, logScale, z, { logBound }, pair) {
  pair[1] = Math.exp(logBound * Math.tanh(logScale / logBound));
  pair[0] = pair[1] * z + shift;
}

// Finds the bin of a point of the spline's vertical axis: left, width, bottom, height and the slopes of both knots.
function splineKnots({ bins, bound, minBin, minSlope, maxRatio, slopeOffset }) {
  const widths = new Float64Array(bins), heights = new Float64Array(bins);
  const sizes = (logits, from, into) => {
    let total = 0;
    for (let i = 0; i < bins; i++) total += into[i] = Math.exp(logits[from + i]);
    for (let i = 0; i < bins; i++) into[i] = 2 * bound * (minBin + (1 - bins * minBin) * into[i] / total);
  };
  return (parameters, y) => {
    if (y < -bound || y >= bound) return null;
    sizes(parameters, 0, widths);
    sizes(parameters, bins, heights);
    let i = 0, left = -bound, bottom = -bound;
    while (i < bins - 1 && y >= bottom + heights[i]) {
      left += widths[i];
      bottom += heights[i++];
    }
    const slope = (knot) => { // of the knot between the bins knot - 1 and knot
      if (knot === 0 || knot === bins) return 1;
      const raw = softplus(parameters[2 * bins + knot - 1] + slopeOffset) + minSlope;
      return raw / (1 + raw * (widths[knot] / heights[knot] + widths[knot - 1] / heights[knot - 1]) / maxRatio);
    };
    return { left, bottom, width: widths[i], height: heights[i], slope0: slope(i), slope1: slope(i + 1) };
  };
}

// The rational quadratic of a bin at the share u of its width: value and slope.
function rationalQuadratic({ bottom, width, height, slope0, slope1 }, u, pair) {
  const s = height / width, p = u * (1 - u), under = s * (1 - 2 * p) + (slope0 + slope1) * p;
  pair[0] = bottom + height * (s * u * u + slope0 * p) / under;
  pair[1] = (slope1 * u * u + 2 * s * p + slope0 * (1 - u) * (1 - u)) * (s / under) ** 2;
}

function inverseSpline(bin, y, pair) {
  if (!bin) return void ((pair[0] = y), (pair[1] = 1));
  const { left, bottom, width, height, slope0, slope1 } = bin, s = height / width, t = (y - bottom) / height;
  const b = slope0 - t * (slope0 + slope1 - 2 * s);
  const root = Math.sqrt((b - 2 * s * t) ** 2 + 4 * s * s * t * (1 - t));
  const u = b >= 0 ? 2 * s * t / (b + root) : (root - b) / (2 * (s - b));
  rationalQuadratic(bin, u, pair);
  pair[0] = left + width * u;
  pair[1] = 1 / pair[1];
}

// x = scale y + shift, where y solves y + g(y) = z: by Newton steps, which the contraction g keeps well-posed.
function residual(read) {
  const w1 = read.take(2 * WIDTH), b1 = read.take(WIDTH), w2 = read.take(WIDTH * WIDTH), b2 = read.take(WIDTH);
  const w3 = read.take(2 * WIDTH), b3 = read.take(2), [swish1, swish2] = read.take(2);
  const [s1, s2] = read.take(2), [t1, t2] = read.take(2);
  const h = new Float64Array(WIDTH), hx = new Float64Array(WIDTH), hy = new Float64Array(WIDTH);
  const g = new Float64Array(6); // value, then the Jacobian matrix by rows

  function evaluate(y1, y2) {
    for (let i = 0; i < WIDTH; i++) {
      const u = w1[2 * i] * y1 + w1[2 * i + 1] * y2 + b1[i];
      const sigmoid = 1 / (1 + Math.exp(-swish1 * u)), slope = sigmoid * (1 + swish1 * u * (1 - sigmoid)) / 1.1;
      h[i] = u * sigmoid / 1.1;
      hx[i] = slope * w1[2 * i];
      hy[i] = slope * w1[2 * i + 1];
    }
    g[0] = b3[0];
    g[1] = b3[1];
    g[2] = g[3] = g[4] = g[5] = 0;
    for (let i = 0; i < WIDTH; i++) {
      const u = dotRow(w2, i, h) + b2[i], ux = dotRow(w2, i, hx), uy = dotRow(w2, i, hy);
      const sigmoid = 1 / (1 + Math.exp(-swish2 * u)), slope = sigmoid * (1 + swish2 * u * (1 - sigmoid)) / 1.1;
      for (let row = 0; row < 2; row++) {
        const weight = w3[row * WIDTH + i];
        g[row] += weight * u * sigmoid / 1.1;
        g[2 + 2 * row] += weight * slope * ux;
        g[3 + 2 * row] += weight * slope * uy;
      }
    }
  }

  return (z1, z2, out) => {
    let y1 = z1, y2 = z2, best = Infinity, damping = 1, d1 = 0, d2 = 0;
    for (let step = 0; step < 60; step++) {
      evaluate(y1, y2);
      const r1 = y1 + g[0] - z1, r2 = y2 + g[1] - z2, size = Math.hypot(r1, r2);
      if (size < 1e-9) break;
      if (size >= best && damping > 0.02) { // the step was too long: half of it
        damping /= 2;
        y1 += damping * d1;
        y2 += damping * d2;
        continue;
      }
      best = size;
      damping = 1;
      const a = 1 + g[2], b = g[3], c = g[4], d = 1 + g[5], det = a * d - b * c;
      d1 = (d * r1 - b * r2) / det;
      d2 = (a * r2 - c * r1) / det;
      y1 -= d1;
      y2 -= d2;
    }
    const a = 1 + g[2], d = 1 + g[5], det = a * d - g[3] * g[4];
    out[0] = s1 * y1 + t1;
    out[1] = s2 * y2 + t2;
    out[2] = (s1 * d + s2 * a) / det;
    out[3] = s1 * s2 / det;
  };
}

function layersOf(name) {
  const family = name.split("/")[0], read = readerOf(floatsOf(DATA.flows[name].weights)), layers = [];
  while (!read.isAtEnd()) layers.push(LAYERS[family](read, DATA.constants));
  return layers;
}

// Points before every layer and after the last one, with the sum of log|det| so far and, for the blend, the trace and
// the determinant of the next layer.
function pathOf(layers, x, y) {
  const n = x.length, out = [0, 0, 0, 0], path = [{ x, y, logDet: new Float32Array(n) }];
  for (const layer of layers) {
    const from = path[path.length - 1];
    from.trace = new Float32Array(n);
    from.det = new Float32Array(n);
    const to = { x: new Float32Array(n), y: new Float32Array(n), logDet: new Float32Array(n) };
    for (let i = 0; i < n; i++) {
      layer(from.x[i], from.y[i], out);
      to.x[i] = out[0];
      to.y[i] = out[1];
      from.trace[i] = out[2];
      from.det[i] = out[3];
      to.logDet[i] = from.logDet[i] + Math.log(out[3]);
    }
    path.push(to);
  }
  return path;
}

// The points at a real number of layers: between two layers the blend (1 - t) z + t T(z), with its own log|det|.
function at(path, time) {
  const k = Math.min(Math.floor(time), path.length - 1), t = time - k, from = path[k];
  if (t < 1e-9) return from;
  const to = path[k + 1], n = from.x.length;
  const blend = { x: new Float32Array(n), y: new Float32Array(n), logDet: new Float32Array(n) };
  for (let i = 0; i < n; i++) {
    blend.x[i] = (1 - t) * from.x[i] + t * to.x[i];
    blend.y[i] = (1 - t) * from.y[i] + t * to.y[i];
    const det = (1 - t) * (1 - t) + t * (1 - t) * from.trace[i] + t * t * from.det[i];
    blend.logDet[i] = from.logDet[i] + Math.log(Math.max(det, 1e-12));
  }
  return blend;
}
