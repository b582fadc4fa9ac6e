// A mesh of triangles as an image: the density or log|det| of every pixel, interpolated between the nodes.

// Calls visit(pixel, weight of a, of b, of c, a, b, c) for the pixels of all cells, two triangles each, where px and py
// are the nodes in pixels of an image of size x size.
function eachPixel(px, py, cells, size, visit) {
  for (let i = 0; i < cells.length; i += 4) {
    triangle(px, py, size, cells[i], cells[i + 1], cells[i + 2], visit);
    triangle(px, py, size, cells[i + 1], cells[i + 2], cells[i + 3], visit);
  }
}

function triangle(px, py, size, a, b, c, visit) {
  const ax = px[a], ay = py[a], bx = px[b], by = py[b], cx = px[c], cy = py[c];
  const top = Math.max(0, Math.ceil(Math.min(ay, by, cy) - 0.5)), end = Math.min(size - 1, Math.max(ay, by, cy) - 0.5);
  const first = Math.max(0, Math.ceil(Math.min(ax, bx, cx) - 0.5)), last = Math.min(size - 1, Math.max(ax, bx, cx) - 0.5);
  const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
  if (top > end || first > last || !(Math.abs(area) > 1e-9)) return;
  for (let row = top; row <= end; row++) {
    const y = row + 0.5;
    for (let column = first; column <= last; column++) {
      const x = column + 0.5;
      const wb = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area;
      const wc = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area;
      if (wb >= 0 && wc >= 0 && wb + wc <= 1) visit(row * size + column, 1 - wb - wc, wb, wc, a, b, c);
    }
  }
}

// A table of 256 colours through equally spaced stops "#rrggbb".
function colourTable(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((i) => parseInt(stop.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const position = (i / 255) * (rgb.length - 1), k = Math.min(Math.floor(position), rgb.length - 2), t = position - k;
    const [r, g, b] = rgb[k].map((value, c) => Math.round((1 - t) * value + t * rgb[k + 1][c]));
    return 0xff000000 | (b << 16) | (g << 8) | r;
  });
}

const tableIndex = (share) => Math.max(0, Math.min(255, Math.round(255 * share)));

// The image of a density or of log|det|. `mesh` has the nodes in the base's plane, `moved` are the same nodes after
// some layers, with log|det|; `logBase` is the base's log-density. Returns ImageData, transparent where nothing is drawn.
function meshImage(size, reach, mesh, moved, { mode, logBase, peak, table, square, detRange }) {
  const image = new ImageData(size, size), pixels = new Uint32Array(image.data.buffer), n = moved.x.length;
  const px = new Float32Array(n), py = new Float32Array(n), scale = size / (2 * reach);
  for (let i = 0; i < n; i++) (px[i] = (moved.x[i] + reach) * scale), (py[i] = (reach - moved.y[i]) * scale);
  const { x, y } = mesh, logDet = moved.logDet, logPeak = Math.log(peak);
  eachPixel(px, py, mesh.cells, size, (pixel, wa, wb, wc, a, b, c) => {
    const z1 = wa * x[a] + wb * x[b] + wc * x[c], z2 = wa * y[a] + wb * y[b] + wc * y[c];
    const change = wa * logDet[a] + wb * logDet[b] + wc * logDet[c];
    if (mode === "density") {
      const relative = logBase(z1, z2) - change - logPeak;
      if (relative > -9) pixels[pixel] = table[tableIndex(Math.exp(0.55 * Math.min(relative, 0)))];
    } else if (Math.abs(z1) <= square && Math.abs(z2) <= square) {
      pixels[pixel] = table[tableIndex(0.5 + change / (2 * detRange))];
    }
  });
  closeGaps(pixels, size);
  return image;
}

// Where fine cells meet coarse ones, single pixels may belong to no cell: they get the colour of a neighbour.
function closeGaps(pixels, size) {
  for (let pass = 0; pass < 2; pass++) {
    for (let i = size; i < pixels.length - size; i++) {
      if (pixels[i]) continue;
      if (pixels[i - 1] && pixels[i + 1]) pixels[i] = pixels[i - 1];
      else if (pixels[i - size] && pixels[i + size]) pixels[i] = pixels[i - size];
    }
  }
}

// The integral of the density over the moved cells: for every cell its area times the mean base density over the mean
// determinant of its nodes. And the density that 5 % of the mass exceed, at which the colours end.
function massOf(mesh, moved, logBase) {
  const n = mesh.x.length, base = new Float64Array(n), det = new Float64Array(n), parts = [];
  for (let i = 0; i < n; i++) {
    base[i] = Math.exp(logBase(mesh.x[i], mesh.y[i]));
    det[i] = Math.exp(moved.logDet[i]);
  }
  let mass = 0;
  for (let i = 0; i < mesh.cells.length; i += 4) {
    const [a, b, c, d] = mesh.cells.subarray(i, i + 4);
    const corners = [base[a], base[b], base[c], base[d]], isCut = Math.min(...corners) === 0 && Math.max(...corners) > 0;
    const mean = isCut ? meanOver(mesh, a, d, logBase) : (corners[0] + corners[1] + corners[2] + corners[3]) / 4;
    const density = (4 * mean) / (det[a] + det[b] + det[c] + det[d]);
    if (!(density > 1e-12)) continue;
    const part = density * areaOf(moved, a, b, c, d);
    mass += part;
    parts.push([density, part]);
  }
  parts.sort((one, other) => other[0] - one[0]);
  let above = 0, peak = 1e-9;
  for (const [density, part] of parts) {
    peak = density;
    if ((above += part) > 0.05 * mass) break;
  }
  return { mass, peak };
}

// The mean base density of a cell that the edge of a support cuts, from 100 points.
function meanOver({ x, y }, a, d, logBase) {
  let sum = 0;
  for (let i = 0.05; i < 1; i += 0.1) {
    for (let j = 0.05; j < 1; j += 0.1) sum += Math.exp(logBase(x[a] + i * (x[d] - x[a]), y[a] + j * (y[d] - y[a])));
  }
  return sum / 100;
}
