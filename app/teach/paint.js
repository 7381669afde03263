// The lab's pictures on canvas: the plane of the inputs, the space of the three logits, lines of numbers, scores.

const CLASS_SHAPES = ["circle", "triangle", "square"];
const CELLS = 52; // of the decision map, a side
const PI = Math.PI;

/** How a point is drawn: a class is a colour and a shape, filled where accepted; an unknown is a cross. */
function signFor(label, accepted, palette) {
  if (label < 0) return signOf(-1, accepted, palette);
  return { shape: CLASS_SHAPES[label], ring: false, hollow: !accepted, colour: palette.of(label) };
}

/** A canvas that knows its size on the page. */
class Sheet {
  constructor(attributes) {
    this.canvas = make("canvas", attributes);
    this.context = this.canvas.getContext("2d");
    this.paths = new Map();
  }

  fit(width, height) {
    this.width = width;
    this.height = height;
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, width, height);
  }

  path(shape, radius) {
    const key = `${shape} ${radius}`;
    if (!this.paths.has(key)) this.paths.set(key, new Path2D(outline(shape, radius)));
    return this.paths.get(key);
  }

  sign(sign, x, y, radius) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    context.strokeStyle = context.fillStyle = sign.colour;
    context.lineWidth = sign.shape === "cross" ? 1.8 : 1.4;
    context.lineCap = "round";
    const path = this.path(sign.shape, sign.shape === "cross" ? radius * 0.85 : radius);
    if (!sign.hollow) context.fill(path);
    context.stroke(path);
    if (sign.ring) context.stroke(this.path("circle", radius * 1.7));
    context.restore();
  }

  /** A ring about a place that is spoken of. */
  chosen(x, y, colour) {
    const { context } = this;
    context.lineWidth = 2.5;
    context.strokeStyle = colour;
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * PI);
    context.stroke();
  }

  lines(lines, colour, width, dash = []) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    for (const line of lines) line.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    context.setLineDash([]);
  }

  text(words, x, y, colour, align = "center", weight = 400, size = 13) {
    const { context } = this;
    context.font = `${weight} ${size}px ${this.font}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = this.ground;
    context.strokeText(words, x, y);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }
}

const mixed = (colour, ground, share) => {
  const [a, b] = [rgbOf(colour), rgbOf(ground)];
  return a.map((value, n) => Math.round(value * share + b[n] * (1 - share)));
};

// --- the plane of the inputs -----------------------------------------------------------------------------------------

class Plane {
  constructor() {
    const middles = Array.from({ length: CELLS }, (_, n) => ((n + 0.5) / CELLS) * 2 * VIEW - VIEW);
    this.grid = Float64Array.from(middles.flatMap((y) => middles.flatMap((x) => [x, -y])));
    this.map = Object.assign(document.createElement("canvas"), { width: CELLS, height: CELLS });
  }

  toPage(x, y, side) {
    return [((x + VIEW) / (2 * VIEW)) * side, ((VIEW - y) / (2 * VIEW)) * side];
  }

  toPlane(x, y, side) {
    return [(x / side) * 2 * VIEW - VIEW, VIEW - (y / side) * 2 * VIEW];
  }

  /** The decision map, what is rejected hatched, and the points; `found` is Course.at, `far` shows sureness instead. */
  draw(sheet, course, found, palette, chosen) {
    const { context, width: side } = sheet;
    this.hatch(context, side, palette);
    const logits = course.logitsAt(found.epoch, this.grid);
    const { score, label } = verdictOf(found.scorer, logits, WIDTH, found.centres, 1);
    const shades = [0, 1, 2].map((c) => mixed(palette.of(c), palette.surface, palette.dark ? 0.34 : 0.24));
    const image = new ImageData(CELLS, CELLS);
    for (let i = 0; i < score.length; i++) {
      const [r, g, b] = shades[label[i]];
      image.data.set([r, g, b, score[i] > found.theta ? 0 : 255], 4 * i);
    }
    this.map.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.map, 0, 0, side, side);
    const step = side / CELLS;
    const edge = chained(contour(score, CELLS, CELLS, found.theta)).map((line) =>
      line.map(([x, y]) => [(x + 0.5) * step, (y + 0.5) * step]),
    );
    sheet.lines(edge, palette.text, 1.4, [5, 4]);
    const { x, labels } = course.data;
    for (let i = 0; i < labels.length; i++) {
      const [px, py] = this.toPage(x[2 * i], x[2 * i + 1], side);
      sheet.sign(signFor(labels[i], found.score[i] <= found.theta, palette), px, py, labels[i] < 0 ? 4 : 3.2);
    }
    if (chosen) {
      const [px, py] = this.toPage(chosen.x[0], chosen.x[1], side);
      if (chosen.row < 0) sheet.sign({ shape: "star", colour: palette.text }, px, py, 6);
      sheet.chosen(px, py, palette.text);
    }
  }

  hatch(context, side, { quiet }) {
    context.strokeStyle = quiet;
    context.globalAlpha = 0.28;
    context.lineWidth = 1;
    context.beginPath();
    for (let at = -side; at < side; at += 9) {
      context.moveTo(at, side);
      context.lineTo(at + side, 0);
    }
    context.stroke();
    context.globalAlpha = 1;
  }
}

// --- the space of the logits -----------------------------------------------------------------------------------------

const SLICES = [0.5, 0.7, 0.9, 1.1, 1.3]; // where the accept surface is cut, from the middle of the means outwards
const SLICE_CELLS = 26;

class Solid {
  constructor() {
    this.turn = -0.6;
    this.tilt = 0.5;
  }

  turnBy(across, up) {
    this.turn += across;
    this.tilt = Math.min(Math.max(this.tilt + up, -PI / 2), PI / 2);
  }

  /** Fits the view to the logits: about their middle, as far as nearly all of them reach. */
  frame(sheet, course, found) {
    const anchored = course.state.method === "cac";
    const middle = anchored
      ? new Float64Array(WIDTH).fill(course.state.alpha / 3)
      : Float64Array.from({ length: WIDTH }, (_, k) => quantile(columnOf(found.logits, k).sort(), 0.5));
    const reach = anchored ? course.state.alpha : Math.max(2, 0.8 * this.far(found.logits, middle));
    const axes = solidAxes([0, 1, 2], WIDTH, reach, this.turn, this.tilt);
    const k = (Math.min(sheet.width, sheet.height) / 2 - 30) / 1.08;
    this.place = (z, at = 0) => {
      const to = [0, 0, 0];
      for (let n = 0; n < WIDTH; n++) {
        const gap = z[at + n] - middle[n];
        to[0] += gap * axes.along[n];
        to[1] += gap * axes.up[n];
        to[2] += gap * axes.depth[n];
      }
      const nearer = k / (1 + 0.22 * Math.max(to[2], -2));
      return [sheet.width / 2 + to[0] * nearer, sheet.height / 2 - to[1] * nearer, to[2]];
    };
    return { reach, anchored, middle };
  }

  /** How far from the middle nearly all logits lie. */
  far(logits, middle) {
    const gaps = Float64Array.from({ length: logits.length / WIDTH }, (_, i) =>
      Math.hypot(...middle.map((value, k) => logits[WIDTH * i + k] - value)),
    );
    return quantile(gaps.sort(), 0.97);
  }

  draw(sheet, course, found, palette, chosen, names) {
    const { reach, anchored, middle } = this.frame(sheet, course, found);
    const unit = (c, far) => {
      const z = anchored ? new Float64Array(WIDTH) : middle.map((value) => value - reach / 3);
      if (c >= 0) z[c] += far * reach;
      return this.place(z);
    };
    const origin = unit(-1, 0);
    for (let c = 0; c < WIDTH; c++) {
      sheet.lines([[unit(c, 1), unit((c + 1) % 3, 1)]], palette.faint, 1.2, [4, 4]);
      sheet.lines([[origin, unit(c, 1.25)]], palette.quiet, 1.2);
    }
    this.surface(sheet, found, palette);
    const { labels } = course.data;
    const places = Array.from(labels.keys(), (i) => this.place(found.logits, WIDTH * i));
    const backToFront = Array.from(labels.keys()).sort((a, b) => places[b][2] - places[a][2]);
    for (const i of backToFront) {
      const accepted = found.score[i] <= found.theta;
      sheet.sign(signFor(labels[i], accepted, palette), places[i][0], places[i][1], labels[i] < 0 ? 4 : 3);
    }
    for (let c = 0; c < WIDTH; c++) {
      const { context } = sheet;
      const [x, y] = this.place(found.centres, WIDTH * c);
      context.beginPath();
      context.arc(x, y, 7, 0, 2 * PI);
      context.fillStyle = palette.of(c);
      context.fill();
      context.lineWidth = 2.5;
      context.strokeStyle = palette.surface;
      context.stroke();
      if (anchored) {
        const [ax, ay] = unit(c, 1);
        sheet.sign({ shape: "star", colour: palette.surface }, ax, ay, 11);
        sheet.sign({ shape: "star", colour: palette.text }, ax, ay, 8);
      }
      const [nx, ny] = unit(c, 1.42);
      const inside = (value, most) => Math.min(Math.max(value, 14), most - 14);
      sheet.text(names[c], inside(nx, sheet.width), inside(ny, sheet.height), palette.text, "center", 600, 15);
    }
    if (chosen) {
      const [x, y] = this.place(chosen.z);
      if (chosen.row < 0) sheet.sign({ shape: "star", colour: palette.text }, x, y, 6);
      sheet.chosen(x, y, palette.text);
    }
    this.places = places;
  }

  /** The accept surface, where the score is theta, as its cuts with planes across the way to each class mean. */
  surface(sheet, found, palette) {
    const { centres, theta, scorer } = found;
    if (!Number.isFinite(theta)) return;
    const wide = scorer === "gamma" ? 1.2 : 0.8; // of a cut, by the way to the mean
    const middle = [0, 1, 2].map((k) => (centres[k] + centres[3 + k] + centres[6 + k]) / 3);
    for (let c = 0; c < WIDTH; c++) {
      const way = [0, 1, 2].map((k) => centres[3 * c + k] - middle[k]);
      const far = Math.hypot(...way);
      if (!(far > 1e-6)) continue;
      const [ahead, side] = frameAbout(way.map((value) => value / far));
      for (const share of SLICES) {
        const z = new Float64Array(SLICE_CELLS * SLICE_CELLS * WIDTH);
        const step = (2 * wide * far) / (SLICE_CELLS - 1);
        const at = (column, row) =>
          [0, 1, 2].map(
            (k) => middle[k] + share * way[k] + (column * step - wide * far) * ahead[k] + (row * step - wide * far) * side[k],
          );
        for (let row = 0; row < SLICE_CELLS; row++)
          for (let column = 0; column < SLICE_CELLS; column++)
            z.set(at(column, row), WIDTH * (row * SLICE_CELLS + column));
        const { score, label } = verdictOf(scorer, z, WIDTH, centres, 1);
        const own = score.map((value, i) => (label[i] === c ? value : Infinity));
        for (let i = 0; i < own.length; i++) if (own[i] === Infinity) own[i] = Math.max(score[i], 1e6 * theta + 1);
        const lines = chained(contour(own.map(Math.log), SLICE_CELLS, SLICE_CELLS, Math.log(theta)));
        const drawn = lines.map((line) => line.map(([column, row]) => this.place(at(column, row))));
        sheet.context.globalAlpha = 0.55;
        sheet.lines(drawn, palette.of(c), 1.3);
        sheet.context.globalAlpha = 1;
      }
    }
  }
}

const columnOf = (table, k) => Float64Array.from({ length: table.length / WIDTH }, (_, i) => table[WIDTH * i + k]);

/** Two directions that stand upright on a third and on each other. */
function frameAbout([x, y, z]) {
  const least = Math.abs(x) < 0.6 ? [1, 0, 0] : [0, 1, 0];
  const cross = ([a, b, c], [d, e, f]) => [b * f - c * e, c * d - a * f, a * e - b * d];
  const one = cross([x, y, z], least);
  const length = Math.hypot(...one);
  const first = one.map((value) => value / length);
  return [first, cross([x, y, z], first)];
}

// --- numbers over the epochs, scores ----------------------------------------------------------------------------------

/** A small line over the epochs; values up to and with the shown one are strong. */
function drawLine(sheet, values, epoch, palette, { low = 0, high = null, log = false } = {}) {
  const { width, height, context } = sheet;
  const finite = values.filter(Number.isFinite);
  const up = log ? (value) => Math.log10(Math.max(value, 1e-5)) : (value) => value;
  const least = log ? Math.min(...finite.map(up), -1) : low;
  const top = Math.max(high ?? Math.max(...finite.map(up)), least + 1e-9);
  const last = Math.max(values.length - 1, 20);
  const place = (value, n) => [
    4 + (n / last) * (width - 12),
    height - 5 - ((up(value) - least) / (top - least)) * (height - 12),
  ];
  sheet.lines([[[4, height - 4.5], [width - 4, height - 4.5]]], palette.faint, 1);
  const line = values.map((value, n) => place(Number.isFinite(value) ? value : least, n));
  sheet.lines([line], palette.faint, 2);
  sheet.lines([line.slice(0, epoch + 1)], palette.known[0], 2);
  if (line[epoch]) {
    context.beginPath();
    context.arc(...line[epoch], 4, 0, 2 * PI);
    context.fillStyle = palette.known[0];
    context.fill();
  }
}

/** Scores of the held-out knowns above the axis, of the unknowns below it, and theta. */
function drawScores(sheet, found, palette, say, chosen) {
  const { width, height, context } = sheet;
  const scale = scaleOf(found.known, found.unknown);
  const bins = 40;
  const edges = edgesOf(scale, bins);
  const above = histogram(found.known, scale, edges);
  const below = histogram(found.unknown, scale, edges);
  const [left, right, top, floor] = [8, width - 8, 24, height - 26];
  const middle = found.unknown.length ? (top + floor) / 2 : floor;
  const place = (x) => left + placeOn(scale, x) * (right - left);
  const bar = (right - left) / bins;
  const theta = place(found.theta);
  const columns = (counts, colour, way) => {
    const tallest = Math.max(1, ...counts);
    counts.forEach((n, i) => {
      if (!n) return;
      const tall = (n / tallest) * (way < 0 ? middle - top : floor - middle);
      context.fillStyle = colour;
      context.globalAlpha = left + (i + 0.5) * bar > theta ? 0.35 : 0.85;
      context.fillRect(left + i * bar + 0.5, way < 0 ? middle - tall : middle, bar - 1, tall);
    });
    context.globalAlpha = 1;
  };
  columns(above, palette.known[0], -1);
  columns(below, palette.unknown, 1);
  sheet.lines([[[left, middle], [right, middle]]], palette.quiet, 1);
  sheet.lines([[[theta, top - 6], [theta, floor + 4]]], palette.text, 2, [5, 4]);
  const pill = Math.min(Math.max(theta, 62), width - 62);
  sheet.text(`θ = ${number(found.theta)}`, pill, 9, palette.text, "center", 600);
  sheet.text(say("← accepted"), left, height - 9, palette.quiet, "left", 400, 12);
  sheet.text(say("rejected →"), right, height - 9, palette.quiet, "right", 400, 12);
  if (chosen) {
    const x = place(chosen.score);
    sheet.sign({ shape: "diamond", colour: palette.text }, x, middle, 6);
  }
}

/** A digit's pixels, each 0 to 1 and more ink the darker, as a small picture. */
function drawDigit(canvas, ink) {
  Object.assign(canvas, { width: SIDE, height: SIDE });
  const image = new ImageData(SIDE, SIDE);
  ink.forEach((value, i) => {
    const shade = 255 - Math.round(255 * Math.min(Math.max(value, 0), 1));
    image.data.set([shade, shade, shade, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
