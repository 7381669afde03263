// A cloud of thousands of signs on a canvas, redrawn while theta moves: each sign is drawn once, as a stamp, and set by
// writing its pixels; finding the sign under the pointer goes by a grid.

/**
 * Pixels of a sign: offsets, in rows of `stride`, of those that it covers whole; and of those at its edge the offset, how
 * much of what is below remains, and its colour times the rest: red and blue, then green.
 */
function stampOf(sign, radius, scale, stride, strength = 1) {
  const half = reachOf(radius, scale);
  const [r, g, b] = rgbOf(sign.colour);
  const colour = 0xff000000 | (b << 16) | (g << 8) | r; // as a signed number, which is the faster
  const side = 2 * half + 1;
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.setTransform(scale, 0, 0, scale, half + 0.5, half + 0.5);
  context.globalAlpha = strength;
  drawSign(context, sign, radius);
  const { data } = context.getImageData(0, 0, side, side);
  const whole = [];
  const edge = [];
  for (let i = 0; i < side * side; i++) {
    const alpha = data[4 * i + 3];
    if (alpha < 8) continue;
    const offset = (Math.floor(i / side) - half) * stride + (i % side) - half;
    if (alpha > 247) whole.push(offset);
    else edge.push(offset, 255 - alpha, Math.imul(colour & 0xff00ff, alpha), Math.imul(colour & 0xff00, alpha));
  }
  return { whole: Int32Array.from(whole), edge: Int32Array.from(edge), colour };
}

/** How far a sign reaches at most, in pixels of the canvas. */
const reachOf = (radius, scale) => Math.ceil((radius * 1.5 + 2) * scale);

function drawSign(context, sign, radius) {
  const path = new Path2D(outline(sign.shape, sign.shape === "cross" ? radius * 0.8 : radius));
  context.strokeStyle = context.fillStyle = sign.colour;
  context.lineWidth = Math.min(2, Math.max(1.2, radius * 0.42));
  context.lineCap = "round";
  if (!sign.hollow) context.fill(path);
  else context.stroke(path);
  if (sign.ring) context.stroke(new Path2D(outline("circle", radius * 1.5)));
}

/** The canvas: a frame that stays, stamps over it, and what is drawn over those by hand. */
class Paper {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  }

  fit(width, height) {
    this.scale = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = this.stride = Math.round(width * this.scale);
    this.canvas.height = this.rows = Math.round(height * this.scale);
    this.image = new ImageData(this.stride, this.rows);
    this.pixels = new Int32Array(this.image.data.buffer);
  }

  /** Draws what lies below the signs and keeps it. */
  frame(background, draw) {
    const { context } = this;
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    context.fillStyle = background;
    context.fillRect(0, 0, this.width, this.height);
    draw(context);
    this.base = new Int32Array(context.getImageData(0, 0, this.stride, this.rows).data.buffer);
  }

  begin() {
    this.pixels.set(this.base);
  }

  /** Rows as they are set one after the other: the pixel of each, its kind, its score. Places are kept `reach` inside. */
  layer(rows, places, scores, kindOf, reach) {
    const { stride, scale } = this;
    const [right, low] = [stride - 1 - reach, this.rows - 1 - reach];
    const count = rows.length;
    const layer = { spots: new Int32Array(count), kinds: new Int32Array(count), scores: new Float64Array(count) };
    for (let n = 0; n < count; n++) {
      const i = rows[n];
      const x = Math.min(Math.max(Math.round(places[2 * i] * scale), reach), right);
      const y = Math.min(Math.max(Math.round(places[2 * i + 1] * scale), reach), low);
      layer.spots[n] = y * stride + x;
      layer.kinds[n] = kindOf(i);
      layer.scores[n] = scores[i];
    }
    return layer;
  }

  /**
   * Sets the stamps of a layer. stamps: by twice the kind, and one more where accepted, score <= theta; stampFor makes
   * one that is not there yet. only: those accepted (1) or rejected (0) alone.
   */
  set({ spots, kinds, scores }, theta, stamps, stampFor, only = -1) {
    const { pixels } = this;
    for (let n = 0; n < spots.length; n++) {
      const accepted = scores[n] <= theta ? 1 : 0;
      if (only === 1 - accepted) continue;
      const need = 2 * kinds[n] + accepted;
      const { whole, edge, colour } = (stamps[need] ??= stampFor(kinds[n], accepted));
      const at = spots[n];
      for (let k = 0; k < whole.length; k++) pixels[at + whole[k]] = colour;
      for (let k = 0; k < edge.length; k += 4) {
        const place = at + edge[k];
        const under = pixels[place];
        const rest = edge[k + 1];
        const rb = (edge[k + 2] + Math.imul(under & 0xff00ff, rest)) >>> 8;
        const g = (edge[k + 3] + Math.imul(under & 0xff00, rest)) >>> 8;
        pixels[place] = 0xff000000 | (rb & 0xff00ff) | (g & 0xff00);
      }
    }
  }

  /** In place of signs, how many lie where: the more, the stronger, in the mean of their colours. */
  shade(rows, places, colourOf) {
    const { pixels, stride, scale } = this;
    const side = Math.max(2, Math.round(3 * scale));
    const [across, down] = [Math.ceil(this.stride / side), Math.ceil(this.rows / side)];
    const cells = [0, 1, 2, 3].map(() => new Float32Array(across * down)); // how many; their red, green and blue
    for (const i of rows) {
      const column = Math.min(Math.max(Math.floor((places[2 * i] * scale) / side), 0), across - 1);
      const line = Math.min(Math.max(Math.floor((places[2 * i + 1] * scale) / side), 0), down - 1);
      const cell = line * across + column;
      const colour = colourOf(i);
      cells[0][cell] += 1;
      for (let n = 0; n < 3; n++) cells[n + 1][cell] += colour[n];
    }
    const [count, ...colours] = cells.map((values) => blurred(blurred(values, across, down), across, down));
    const most = Math.log1p(count.reduce((a, b) => Math.max(a, b), 0) * 9) || 1;
    for (let y = 0; y < this.rows; y++) {
      const line = Math.floor(y / side) * across;
      for (let x = 0; x < stride; x++) {
        const cell = line + Math.floor(x / side);
        if (count[cell] < 0.01) continue;
        const share = Math.min(1, Math.log1p(count[cell] * 9) / most);
        const under = pixels[y * stride + x];
        const mix = (n, shift) => (colours[n][cell] / count[cell]) * share + ((under >> shift) & 255) * (1 - share);
        pixels[y * stride + x] = 0xff000000 | (mix(2, 16) << 16) | (mix(1, 8) << 8) | mix(0, 0);
      }
    }
  }

  end(draw) {
    const { context } = this;
    context.putImageData(this.image, 0, 0);
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    draw(context);
  }
}

/** The mean of each cell and its eight neighbours; beyond the edge there is nothing. */
function blurred(values, across, down) {
  const lines = new Float32Array(values.length);
  const out = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const column = i % across;
    lines[i] = values[i] + (column ? values[i - 1] : 0) + (column < across - 1 ? values[i + 1] : 0);
  }
  for (let i = 0; i < values.length; i++) {
    out[i] = (lines[i] + (lines[i - across] ?? 0) + (lines[i + across] ?? 0)) / 9;
  }
  return out;
}

/** The rows of a cast in an order in which no group lies on top of another. */
function mixedOf(cast) {
  if (!cast.mixed) {
    const there = new Uint8Array(cast.labels.length);
    for (const i of cast.rows) there[i] = 1;
    cast.mixed = shuffled(there.length).filter((i) => there[i]);
  }
  return cast.mixed;
}

// --- finding ---------------------------------------------------------------------------------------------------------

const CELL = 16;

/** A grid over places, to find the nearest row to a point. */
function gridOf(rows, places, width) {
  const across = Math.ceil(width / CELL) + 1;
  const cells = new Map();
  for (const i of rows) {
    const cell = Math.floor(places[2 * i + 1] / CELL) * across + Math.floor(places[2 * i] / CELL);
    if (!cells.has(cell)) cells.set(cell, []);
    cells.get(cell).push(i);
  }
  return { cells, across, places };
}

/** The row nearest to (x, y) and at most one cell away, or -1. */
function nearestIn({ cells, across, places }, x, y) {
  let best = CELL * CELL;
  let found = -1;
  const [column, line] = [Math.floor(x / CELL), Math.floor(y / CELL)];
  for (let r = line - 1; r <= line + 1; r++) {
    for (let c = column - 1; c <= column + 1; c++) {
      for (const i of cells.get(r * across + c) ?? []) {
        const far = (places[2 * i] - x) ** 2 + (places[2 * i + 1] - y) ** 2;
        if (far < best) {
          best = far;
          found = i;
        }
      }
    }
  }
  return found;
}

/** Rows [N] in the order of their depth, the farthest first. */
function byDepth(rows, depth) {
  const BINS_DEEP = 256;
  let low = Infinity;
  let high = -Infinity;
  for (const i of rows) {
    if (depth[i] < low) low = depth[i];
    if (depth[i] > high) high = depth[i];
  }
  const bin = (i) => Math.floor(((high - depth[i]) / (high - low || 1)) * (BINS_DEEP - 1));
  const starts = new Int32Array(BINS_DEEP + 1);
  for (const i of rows) starts[bin(i) + 1]++;
  for (let b = 0; b < BINS_DEEP; b++) starts[b + 1] += starts[b];
  const sorted = new Int32Array(rows.length);
  for (const i of rows) sorted[starts[bin(i)]++] = i;
  return sorted;
}
