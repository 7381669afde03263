// The plane of the inputs: what the network would call each place, the points, and the tools to draw and move them.

const CELLS = 52; // of the decision map, a side

class Plane {
  constructor(bench) {
    this.bench = bench;
    const { say } = bench;
    const middles = Array.from({ length: CELLS }, (_, n) => ((n + 0.5) / CELLS) * 2 * VIEW - VIEW);
    this.grid = Float64Array.from(middles.flatMap((y) => middles.flatMap((x) => [x, -y])));
    this.map = Object.assign(document.createElement("canvas"), { width: CELLS, height: CELLS });
    this.tool = "choose";
    this.sheet = new Sheet(bench, {
      tabindex: 0,
      role: "img",
      "aria-label": say("The plane of the inputs: points of three classes, and what the network would call each place"),
      "aria-description":
        say("Arrow keys go through the points, with Shift to any place; Enter draws there, or sets the blob."),
      keydown: (event) => this.walk(event),
    });
    this.stage = make("div", { class: "stage plane" }, this.sheet.canvas);
    this.listen();
    const { node, draw } = partOf(
      say("What the network sees"),
      this.stage,
      bench.allows("draw") ? this.tools() : "",
      swatches(
        bench,
        ...LETTERS.map((name, c) => [(palette) => signFor(c, true, palette), name]),
        [(palette) => signFor(0, false, palette), say("rejected")],
        [(palette) => signFor(-1, false, palette), say("never seen"), () => bench.state.unknown !== "none"],
      ),
      make("p", { class: "note" },
        say("Hatched: rejected as unknown. Click a point, or any place, to see its numbers.")),
    );
    Object.assign(this, { node, drawAbout: draw });
  }

  /** Whether these are data that it can show. */
  fits(data) {
    return data.plane;
  }

  tools() {
    const { say } = this.bench;
    const names = [
      ["choose", say("choose"), ""],
      ...LETTERS.map((name, c) => [String(c), `+ ${name}`, say("draw points of class {name}", { name })]),
      ["3", say("+ unknown"), say("draw unknown points")], ["move", say("move"), ""], ["erase", say("erase"), ""],
    ];
    const chips = names.map(([tool, words, meaning]) => {
      const more = meaning ? { title: meaning, "aria-label": meaning } : {};
      const click = () => ((this.tool = tool), this.bench.ask());
      const node = make("button", { type: "button", class: "chip small", click, ...more }, words);
      return { node, draw: () => attribute(node, "aria-pressed", this.tool === tool) };
    });
    return boxOf("div", { class: "choice sets tools", role: "group", "aria-label": say("Tool") }, ...chips);
  }

  // --- the picture ---

  toPage(x, y) {
    const side = this.sheet.width;
    return [((x + VIEW) / (2 * VIEW)) * side, ((VIEW - y) / (2 * VIEW)) * side];
  }

  toPlane(px, py) {
    const side = this.sheet.width;
    const inside = (value) => Math.min(Math.max(value, -VIEW), VIEW);
    return [inside((px / side) * 2 * VIEW - VIEW), inside(VIEW - (py / side) * 2 * VIEW)];
  }

  draw(found, chosen) {
    const { sheet, bench } = this;
    const { palette, course } = bench;
    this.drawAbout();
    this.stage.classList.toggle("draws", this.tool !== "choose");
    sheet.fill(bench.height);
    if (!course.empty) this.drawMap(found);
    const { x, labels } = course.data;
    for (let i = 0; i < labels.length; i++) {
      const sign = signFor(labels[i], course.empty || found.score[i] <= found.theta, palette);
      sheet.sign(sign, ...this.toPage(x[2 * i], x[2 * i + 1]), labels[i] < 0 ? 4 : 3.2);
    }
    if (chosen) sheet.spoken(chosen, ...this.toPage(...chosen.x));
    if (!this.hasHandle) return;
    const [px, py] = this.toPage(...bench.state.at);
    sheet.ring(px, py, palette.unknown);
    sheet.text(bench.say("drag me"), px, Math.max(py - 20, 10), palette.text, "center", 600, 12);
  }

  /** The decision map; what is rejected is hatched, and a dashed line runs where the score is theta. */
  drawMap(found) {
    const { context, width: side } = this.sheet;
    const { palette, course } = this.bench;
    this.hatch(context, side, palette);
    const logits = course.logitsAt(found.epoch, this.grid);
    const { score, label } = verdictOf(found.scorer, logits, WIDTH, () => found.centres, 1);
    const shades = [0, 1, 2].map((c) => mixed(palette.of(c), palette.surface, palette.dark ? 0.34 : 0.24));
    const image = new ImageData(CELLS, CELLS);
    for (let i = 0; i < score.length; i++) {
      const [r, g, b] = shades[label[i]];
      image.data.set([r, g, b, score[i] > found.theta ? 0 : 255], 4 * i);
    }
    this.map.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(this.map, 0, 0, side, side);
    const step = side / CELLS;
    const edge = chained(contour(score, CELLS, CELLS, found.theta)).map((line) =>
      line.map(([x, y]) => [(x + 0.5) * step, (y + 0.5) * step]),
    );
    this.sheet.lines(edge, palette.text, 1.4, [5, 4]);
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

  // --- the finger and the keys ---

  listen() {
    const { stage, bench } = this;
    let act = null; // what the finger does while it moves
    let before = null;
    const listeners = {
      pointerdown: (event) => {
        if (event.button || !event.isPrimary) return;
        stage.setPointerCapture(event.pointerId);
        this.sheet.canvas.focus({ preventScroll: true });
        before = bench.probe;
        act = this.touched(...this.sheet.at(event));
      },
      pointermove: (event) => event.isPrimary && act?.(...this.sheet.at(event)),
      pointerup: () => (act = null),
      pointercancel: () => {
        if (act && this.tool === "choose") bench.speakOf(before); // the finger was there to scroll the page
        act = null;
      },
    };
    for (const [name, heard] of Object.entries(listeners)) stage.addEventListener(name, heard);
    const keep = (event) => this.onHandle(...this.sheet.at(event.touches[0])) && event.preventDefault();
    stage.addEventListener("touchstart", keep, { passive: false }); // the blob moves, the page does not
  }

  /** The unknown blob can be taken by its middle. */
  get hasHandle() {
    return this.bench.state.unknown === "blob" && this.bench.allows("draw");
  }

  onHandle(px, py) {
    const [x, y] = this.toPage(...this.bench.state.at);
    return this.hasHandle && this.tool === "choose" && Math.hypot(x - px, y - py) < 24;
  }

  /** The finger goes down on the plane; gives what it does while it moves. */
  touched(px, py) {
    if (this.tool === "choose") return this.onHandle(px, py) ? this.dragging() : this.choosing(px, py);
    return this.tool === "move" ? this.moving(px, py) : this.drawing(px, py);
  }

  dragging() {
    return (px, py) => this.bench.set({ at: this.toPlane(px, py).map((value) => Number(value.toFixed(2))) });
  }

  choosing(px, py) {
    const choose = (x, y) => {
      const row = this.nearest(x, y, 9);
      this.bench.speakOf(row >= 0 ? { row } : { x: Float64Array.from(this.toPlane(x, y)) });
    };
    choose(px, py);
    return choose;
  }

  moving(px, py) {
    const points = this.points();
    const taken = points[this.nearest(px, py, 14)];
    if (!taken) return null;
    const spoken = points[this.bench.probe?.row];
    return (x, y) => {
      [taken.x, taken.y] = this.toPlane(x, y);
      this.redrawn(points, spoken);
    };
  }

  drawing(px, py) {
    let points = this.points();
    const spoken = points[this.bench.probe?.row];
    let before = null;
    const act = (toX, toY) => {
      if (before && Math.hypot(toX - before[0], toY - before[1]) < 9) return;
      before = [toX, toY];
      const [x, y] = this.toPlane(toX, toY);
      const { length } = points;
      if (this.tool === "erase") points = points.filter((point) => Math.hypot(point.x - x, point.y - y) > 0.3);
      else if (length < MOST_POINTS) points.push({ x, y, c: Number(this.tool) });
      if (points.length !== length) this.redrawn(points, spoken);
    };
    act(px, py);
    return act;
  }

  /** The row of the nearest point, -1 where none is so near. */
  nearest(px, py, most) {
    const { x, labels } = this.bench.course.data;
    let best = most;
    let found = -1;
    for (let i = 0; i < labels.length; i++) {
      const [ax, ay] = this.toPage(x[2 * i], x[2 * i + 1]);
      const far = Math.hypot(ax - px, ay - py);
      if (far < best) [best, found] = [far, i];
    }
    return found;
  }

  points() {
    const { x, labels } = this.bench.course.data;
    return Array.from(labels, (label, i) => ({ x: x[2 * i], y: x[2 * i + 1], c: label < 0 ? 3 : label }));
  }

  /**
   * Points were drawn, moved or erased. Only where a known one changed is there anything to train anew. `spoken`, the
   * point that is spoken of, stays so wherever its row has come to be.
   */
  redrawn(points, spoken) {
    const { bench } = this;
    const known = points.filter(({ c }) => c < 3);
    const unknown = points.filter(({ c }) => c === 3);
    const touched = pointsToText(known) !== pointsToText(this.points().filter(({ c }) => c < 3));
    const data = touched ? "drawn" : bench.state.data;
    const all = [...known, ...unknown]; // as toys.js has them
    if (spoken) bench.probe = all.includes(spoken) ? { row: all.indexOf(spoken) } : null;
    bench.set({
      data,
      unknown: unknown.length ? "drawing" : bench.state.unknown,
      points: pointsToText(data === "drawn" ? all : unknown),
    });
  }

  /** The arrow keys go through the points; with Shift to any place, where Enter does what a finger would. */
  walk(event) {
    const arrow = ARROWS[event.key];
    const { length } = this.bench.course.data.labels;
    if (!arrow && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    if (!arrow) return this.pressed();
    if (event.shiftKey || !length) {
      const place = this.spot().map((value, n) => Math.min(Math.max(value + 0.2 * arrow[n], -VIEW), VIEW));
      return this.bench.speakOf({ x: Float64Array.from(place) });
    }
    const way = arrow[0] || -arrow[1]; // to the right and down is on
    const from = this.bench.probe?.row ?? (way > 0 ? -1 : 0);
    this.bench.speakOf({ row: (from + way + length) % length });
  }

  /** Where the keys are: at the point or the place that is spoken of, else at the blob's. */
  spot() {
    const { probe, course, state } = this.bench;
    if (probe?.x) return [...probe.x];
    return probe ? [...course.data.x.slice(2 * probe.row, 2 * probe.row + 2)] : [...state.at];
  }

  pressed() {
    const [px, py] = this.toPage(...this.spot());
    if (this.tool === "choose" && this.hasHandle) this.dragging()(px, py);
    else if (!["choose", "move"].includes(this.tool)) this.drawing(px, py);
  }
}
