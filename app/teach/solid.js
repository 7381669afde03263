// The space of the three logits: the points, the anchors, the class means, and the surface where the score is theta.

const SLICES = [0.5, 0.7, 0.9, 1.1, 1.3]; // where the accept surface is cut, from the middle of the means outwards
const SLICE_CELLS = 26;

class Solid {
  constructor(bench) {
    this.bench = bench;
    const { say } = bench;
    this.turn = -0.6;
    this.tilt = 0.5;
    this.places = []; // of the points on the page
    this.sheet = new Sheet(bench, {
      tabindex: 0,
      role: "img",
      "aria-label": say("The space of the three logits with the anchors on its axes. Arrow keys turn it."),
      keydown: (event) => {
        const way = ARROWS[event.key];
        if (!way) return;
        event.preventDefault();
        event.stopPropagation();
        this.turnBy(way[0] * 0.12, way[1] * 0.12);
      },
    });
    this.stage = make("div", { class: "stage turns" }, this.sheet.canvas);
    this.listen();
    const star = (palette) => ({ shape: "star", colour: palette.text });
    const circle = (palette) => ({ shape: "circle", colour: palette.of(0) });
    const { node, draw } = partOf(
      say("Where its three logits put it"),
      this.stage,
      swatches(bench, [star, say("anchor"), () => bench.state.method === "cac"], [circle, say("large: class mean")]),
      make("p", { class: "note" },
        say("Exact: no dimension is left out. The thin rings are the surface where the score is θ. Drag to turn.")),
    );
    Object.assign(this, { node, drawAbout: draw });
  }

  turnBy(across, up) {
    this.turn += across;
    this.tilt = Math.min(Math.max(this.tilt + up, -PI / 2), PI / 2);
    this.bench.ask();
  }

  listen() {
    const { stage } = this;
    let from = null;
    let moved = false;
    const listeners = {
      pointerdown: (event) => {
        if (event.button || !event.isPrimary) return;
        stage.setPointerCapture(event.pointerId);
        from = this.sheet.at(event);
        moved = false;
      },
      pointermove: (event) => {
        if (!from || !event.isPrimary) return;
        const [x, y] = this.sheet.at(event);
        moved ||= Math.hypot(x - from[0], y - from[1]) > 3;
        if (!moved) return;
        this.turnBy((from[0] - x) * 0.008, (y - from[1]) * 0.008);
        from = [x, y];
      },
      pointerup: () => {
        if (from && !moved) this.choose(...from);
        from = null;
      },
      pointercancel: () => (from = null),
    };
    for (const [name, heard] of Object.entries(listeners)) stage.addEventListener(name, heard);
  }

  /** The nearest point is spoken of, where one is near. */
  choose(px, py) {
    let best = 14;
    let found = -1;
    this.places.forEach(([x, y], row) => {
      const far = Math.hypot(x - px, y - py);
      if (far < best) [best, found] = [far, row];
    });
    if (found >= 0) this.bench.speakOf({ row: found });
  }

  // --- the picture ---

  draw(found, chosen) {
    const { bench, sheet } = this;
    this.drawAbout();
    sheet.fill(bench.height);
    this.places = [];
    if (bench.course.empty) return;
    const frame = this.frame(found);
    this.drawAxes(frame);
    this.drawSurface(found);
    this.drawPoints(found);
    for (let c = 0; c < WIDTH; c++) this.drawClass(c, found, frame);
    if (chosen) sheet.spoken(chosen, ...this.place(chosen.z));
  }

  /** Fits the view to the logits: about their middle, as far as nearly all of them reach. */
  frame(found) {
    const { sheet } = this;
    const { method, alpha } = this.bench.state;
    const anchored = method === "cac";
    const middle = anchored
      ? new Float64Array(WIDTH).fill(alpha / 3)
      : Float64Array.from({ length: WIDTH }, (_, k) => quantile(columnOf(found.logits, k).sort(), 0.5));
    const reach = anchored ? alpha : Math.max(2, 0.8 * this.far(found.logits, middle));
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
    /** The place so far out on the axis of class c. */
    const onAxis = (c, far) => {
      const z = anchored ? new Float64Array(WIDTH) : middle.map((value) => value - reach / 3);
      z[c] += far * reach;
      return this.place(z);
    };
    return { anchored, onAxis };
  }

  /** How far from the middle nearly all logits lie. */
  far(logits, middle) {
    const gaps = Float64Array.from({ length: logits.length / WIDTH }, (_, i) =>
      Math.hypot(...middle.map((value, k) => logits[WIDTH * i + k] - value)),
    );
    return quantile(gaps.sort(), 0.97);
  }

  drawAxes({ onAxis }) {
    const { palette } = this.bench;
    for (let c = 0; c < WIDTH; c++) {
      this.sheet.lines([[onAxis(c, 1), onAxis((c + 1) % 3, 1)]], palette.faint, 1.2, [4, 4]);
      this.sheet.lines([[onAxis(c, 0), onAxis(c, 1.25)]], palette.quiet, 1.2);
    }
  }

  drawPoints(found) {
    const { palette, course } = this.bench;
    const { labels } = course.data;
    this.places = Array.from(labels.keys(), (i) => this.place(found.logits, WIDTH * i));
    const backToFront = Array.from(labels.keys()).sort((a, b) => this.places[b][2] - this.places[a][2]);
    for (const i of backToFront) {
      const [x, y] = this.places[i];
      const accepted = found.score[i] <= found.theta;
      this.sheet.sign(signFor(labels[i], accepted, palette), x, y, labels[i] < 0 ? 4 : 3);
    }
  }

  /** A class's mean, its anchor, and its name at the end of its axis. */
  drawClass(c, found, { anchored, onAxis }) {
    const { sheet } = this;
    const { palette, course } = this.bench;
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
      const [ax, ay] = onAxis(c, 1);
      sheet.sign({ shape: "star", colour: palette.surface }, ax, ay, 11);
      sheet.sign({ shape: "star", colour: palette.text }, ax, ay, 8);
    }
    const [nx, ny] = onAxis(c, 1.42);
    const inside = (value, most) => Math.min(Math.max(value, 14), most - 14);
    const [tx, ty] = [inside(nx, sheet.width), inside(ny, sheet.height)];
    sheet.text(course.data.names[c], tx, ty, palette.text, "center", 600, 15);
  }

  /** The accept surface, where the score is theta, as its cuts with planes across the way to each class mean. */
  drawSurface({ centres, theta, scorer }) {
    const { sheet } = this;
    const { palette } = this.bench;
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
        const at = (column, row) => {
          const [across, up] = [column * step - wide * far, row * step - wide * far];
          return [0, 1, 2].map((k) => middle[k] + share * way[k] + across * ahead[k] + up * side[k]);
        };
        for (let row = 0; row < SLICE_CELLS; row++)
          for (let column = 0; column < SLICE_CELLS; column++)
            z.set(at(column, row), WIDTH * (row * SLICE_CELLS + column));
        const { score, label } = verdictOf(scorer, z, WIDTH, () => centres, 1);
        // where another class is nearer, nothing is accepted as this one
        const own = score.map((value, i) => Math.log(label[i] === c ? value : Math.max(value, 1e6 * theta + 1)));
        const lines = chained(contour(own, SLICE_CELLS, SLICE_CELLS, Math.log(theta)));
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

