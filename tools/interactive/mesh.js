// A mesh of the base's plane for one flow: fine at the centre, and finer where a layer bends the cells strongly.

const MESH_START = 80, MESH_DEPTH = 7, MESH_REACH = 9, MESH_GROWTH = 2.5, MAX_NODES = 90000, MESH_TOLERANCE = 2e-6;
const WEIGHT_SCALE = 1.2; // of the normal by which cells count

// {x, y, path, cells}: the nodes, their path through the layers, and four nodes of each cell. A cell is divided while its
// area after some layers differs from the mean determinant times its area before, weighted by its mass.
function adaptiveMesh(layers) {
  const unit = 1 << MESH_DEPTH, span = MESH_START * unit, numbers = new Map(), x = [], y = [], leaves = [];
  const place = (i) => (MESH_REACH * Math.sinh(MESH_GROWTH * ((2 * i) / span - 1))) / Math.sinh(MESH_GROWTH);
  const node = (i, j) => {
    const key = i * (span + 1) + j, known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, x.length);
    y.push(place(i));
    return x.push(place(j)) - 1;
  };
  let waiting = [], path = null;
  for (let i = 0; i < span; i += unit) for (let j = 0; j < span; j += unit) waiting.push([i, j]);
  for (let size = unit; waiting.length; size /= 2) {
    const cells = waiting.map(([i, j]) => [node(i, j), node(i, j + size), node(i + size, j), node(i + size, j + size)]);
    path = extended(path, layers, x, y);
    const next = [], half = size / 2;
    waiting.forEach(([i, j], c) => {
      if (size > 1 && x.length + next.length < MAX_NODES && isCoarse(path, cells[c])) {
        next.push([i, j], [i, j + half], [i + half, j], [i + half, j + half]);
      } else leaves.push(...cells[c]);
    });
    waiting = next;
  }
  return { x: Float32Array.from(x), y: Float32Array.from(y), path, cells: Int32Array.from(leaves) };
}

// The path with the nodes that it does not have yet.
function extended(path, layers, x, y) {
  const n = path ? path[0].x.length : 0, more = pathOf(layers, Float32Array.from(x.slice(n)), Float32Array.from(y.slice(n)));
  if (!path) return more;
  return path.map((before, k) => Object.fromEntries(Object.entries(before).map(([name, values]) => {
    const joined = new Float32Array(x.length);
    joined.set(values);
    joined.set(more[k][name], n);
    return [name, joined];
  })));
}

// Half the cross product of the diagonals.
function areaOf({ x, y }, a, b, c, d) {
  return 0.5 * Math.abs((x[d] - x[a]) * (y[c] - y[b]) - (x[c] - x[b]) * (y[d] - y[a]));
}

function isCoarse(path, [a, b, c, d]) {
  const start = path[0], area = areaOf(start, a, b, c, d), square = (start.x[a] ** 2 + start.y[a] ** 2) / WEIGHT_SCALE ** 2;
  const mass = (area * Math.exp(-0.5 * square)) / (2 * Math.PI * WEIGHT_SCALE ** 2);
  if (mass < MESH_TOLERANCE / 100) return false;
  for (let k = 1; k < path.length; k++) {
    const { logDet } = path[k], det = (Math.exp(logDet[a]) + Math.exp(logDet[b]) + Math.exp(logDet[c]) + Math.exp(logDet[d])) / 4;
    if (mass * Math.abs(areaOf(path[k], a, b, c, d) / (det * area) - 1) > MESH_TOLERANCE) return true;
  }
  return false;
}
