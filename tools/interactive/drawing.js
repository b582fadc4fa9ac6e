// Grid lines and dots of the panel in the plane.

// The lines z1 = c and z2 = c as two lists of points each of LINE_POINTS.
const LINE_POINTS = 121;

function gridLines() {
  const values = Array.from({ length: 4 * GRID_REACH + 1 }, (_, i) => i / 2 - GRID_REACH), x = [], y = [];
  const along = Array.from({ length: LINE_POINTS }, (_, i) => GRID_REACH * ((2 * i) / (LINE_POINTS - 1) - 1));
  for (const value of values) for (const a of along) x.push(value), y.push(a);
  for (const value of values) for (const a of along) x.push(a), y.push(value);
  return { x: Float32Array.from(x), y: Float32Array.from(y) };
}

function drawLines(context, moved, toX, toY, colour, small) {
  context.strokeStyle = colour.ink;
  const n = moved.x.length / LINE_POINTS;
  for (let line = 0; line < n; line++) {
    const isAxis = line % (n / 2) === (n / 2 - 1) / 2;
    if (small && line % 2) continue;
    context.globalAlpha = isAxis ? 0.75 : 0.32;
    context.lineWidth = small ? 0.5 : isAxis ? 1.3 : 0.8;
    context.beginPath();
    for (let i = line * LINE_POINTS; i < (line + 1) * LINE_POINTS; i++) context.lineTo(toX(moved.x[i]), toY(moved.y[i]));
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawDots(context, points, toX, toY, colour, radius, alpha, every = 1) {
  context.fillStyle = colour;
  context.globalAlpha = alpha;
  context.beginPath();
  for (let i = 0; i < points.x.length; i += every) {
    const x = toX(points.x[i]), y = toY(points.y[i]);
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.fill();
  context.globalAlpha = 1;
}
