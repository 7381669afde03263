// Pointing at the cloud: the tip beside an image, picking, the lasso, turning, looking closer, and the same by keys.
//
// The page scrolls over the picture as over any other: it takes a key that is held (Ctrl, Alt or Meta), two fingers, or
// the tool "Move" for a wheel or a finger to move what is seen.

class Pointer {
  constructor(space) {
    this.space = space;
    this.hover = -1; // the image that is pointed at
    this.mean = -1; // or the class mean
    this.lasso = null; // the line being drawn
    this.start = null; // where the finger went down, and what it does
    this.fingers = new Map(); // where each finger is that is down
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.text = make("div");
    this.tip = make("div", { class: "tip", hidden: true }, this.canvas, this.text);
  }

  /** Listens on the stage, whose canvas takes the keys. */
  attach(stage, canvas) {
    this.stage = stage;
    const listeners = {
      pointerdown: (event) => this.down(event),
      pointermove: (event) => this.move(event),
      pointerup: (event) => this.up(event),
      pointercancel: (event) => this.lifted(event),
      pointerleave: () => this.start || this.point(-1),
    };
    for (const [name, heard] of Object.entries(listeners)) stage.addEventListener(name, heard);
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    // two fingers are for the picture, one for the page
    const two = (event) => event.touches.length > 1 && event.preventDefault();
    for (const name of ["touchstart", "touchmove"]) stage.addEventListener(name, two, { passive: false });
    canvas.addEventListener("keydown", (event) => this.pressed(event));
    canvas.addEventListener("blur", () => this.point(-1));
  }

  placeOf(event) {
    const place = this.stage.getBoundingClientRect();
    return [event.clientX - place.left, event.clientY - place.top];
  }

  point(row, mean = -1) {
    if (this.hover === row && this.mean === mean) return;
    this.hover = row;
    this.mean = mean;
    this.space.ask("hover");
  }

  /** The image under the pointer, or the mean of a class where no image is nearer. */
  pointAt(x, y) {
    const { space } = this;
    const { places, feed, marks } = space;
    space.grid ??= gridOf(space.shown().rows, places, space.paper.width);
    const row = nearestIn(space.grid, x, y);
    const far = row < 0 ? Infinity : Math.hypot(places[2 * row] - x, places[2 * row + 1] - y);
    const { means } = marks;
    for (let c = 0; means && c < feed.width; c++) {
      const near = Math.hypot(means[2 * c] - x, means[2 * c + 1] - y) < Math.min(11, far);
      if (near && space.isMarked(c)) return this.point(-1, c);
    }
    return this.point(row);
  }

  // --- the tip ---

  showTip() {
    const { hover, mean, space } = this;
    this.tip.hidden = Boolean(this.drawing) || (hover < 0 && mean < 0);
    if (this.tip.hidden) return;
    const at = hover >= 0 ? hover : mean;
    const xy = hover >= 0 ? space.places : space.marks.means;
    const lines = hover >= 0 ? this.linesFor(hover) : this.linesForMean(mean);
    const pictured = hover >= 0 && !space.cast.film;
    this.canvas.hidden = !pictured || !drawSprite(this.canvas, space.feed, hover, 72, () => space.ask("hover"));
    this.text.replaceChildren(...lines.map((line, n) => make("div", { class: n ? "" : "truth" }, line)));
    const [x, y] = [xy[2 * at], xy[2 * at + 1]];
    const { width, height } = space.paper;
    const [wide, tall] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const left = x + 16 + wide < width ? x + 16 : Math.max(4, x - 16 - wide);
    const top = Math.min(Math.max(4, y - tall / 2), height - tall - 4);
    this.tip.style.transform = `translate(${Math.round(left)}px,${Math.round(top)}px)`;
  }

  linesFor(i) {
    const { cast, say, feed, theta } = this.space;
    const truth = cast.film ? feed.header.known[cast.labels[i]] : this.space.truth(i);
    const [score, limit] = apart(cast.score[i], theta);
    return [
      cast.labels[i] < 0 ? say("{truth}, never seen", { truth }) : truth,
      say("nearest {nearest}", { nearest: feed.header.known[cast.label[i]] }),
      cast.score[i] <= theta
        ? say("score {score} ≤ θ {limit}: accepted", { score, limit })
        : say("score {score} > θ {limit}: rejected", { score, limit }),
    ];
  }

  linesForMean(c) {
    const { say, entries } = this.space;
    const { off, name } = entries[c];
    const title = say("mean of {name}", { name });
    return off === undefined ? [title] : [title, say("{off} from its anchor", { off: number(off) })];
  }

  // --- the finger ---

  down(event) {
    if (event.button > 1 || event.target.closest("button")) return;
    const { space } = this;
    const [x, y] = this.placeOf(event);
    this.fingers.set(event.pointerId, [x, y]);
    if (this.fingers.size > 1) {
      this.cancel();
      return;
    }
    space.canvas.focus({ preventScroll: true });
    const moves = event.button === 1 || held(event) || space.wantsMove;
    const drags = moves
      ? "move"
      : space.wantsLasso[space.kind]
        ? "lasso"
        : space.kind === "solid"
          ? "turn"
          : "tap";
    if (event.button === 1) event.preventDefault();
    this.start = { x, y, drags, last: [x, y], add: event.shiftKey };
    if (drags === "tap") return;
    this.stage.setPointerCapture(event.pointerId);
    space.hold();
  }

  move(event) {
    const { start, space } = this;
    const [x, y] = this.placeOf(event);
    if (this.fingers.size > 1 && this.fingers.has(event.pointerId)) {
      this.spread(event.pointerId, x, y);
      return;
    }
    if (!start) {
      if (event.target === space.canvas) this.pointAt(x, y);
      return;
    }
    if (!this.drawing && Math.hypot(x - start.x, y - start.y) < 4) return;
    this.drawing = start.drags !== "tap";
    if (start.drags === "turn") space.turnBy((start.last[0] - x) * 0.008, (y - start.last[1]) * 0.008);
    if (start.drags === "move") space.pan(x - start.last[0], y - start.last[1]);
    if (start.drags === "lasso") {
      this.lasso ??= [[start.x, start.y]];
      this.lasso.push([x, y]);
      space.ask("lasso");
    }
    start.last = [x, y];
  }

  up(event) {
    const { start, lasso, drawing, space } = this;
    this.fingers.delete(event.pointerId);
    if (!start) return;
    this.cancel();
    if (lasso) {
      const { places } = space;
      space.select(
        space.shown().rows.filter((i) => inside(lasso, places[2 * i], places[2 * i + 1])),
        start.add,
      );
    } else if (!drawing) {
      this.pointAt(...this.placeOf(event));
      space.select(this.hover < 0 ? [] : [this.hover], start.add);
    }
  }

  /** Two fingers: what is between them stays between them. */
  spread(id, x, y) {
    const { space, fingers } = this;
    const other = [...fingers].find(([each]) => each !== id)[1];
    const before = fingers.get(id);
    fingers.set(id, [x, y]);
    const far = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by) || 1;
    const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const [from, to] = [middle(before, other), middle([x, y], other)];
    space.zoom(far([x, y], other) / far(before, other), ...from);
    space.pan(to[0] - from[0], to[1] - from[1]);
  }

  wheel(event) {
    const { space } = this;
    if (!held(event) && !space.wantsMove) return;
    event.preventDefault();
    const turned = event.deltaY * (event.deltaMode ? 0.16 : 0.01); // lines or pixels; fingers on a pad bring small steps
    space.zoom(Math.exp(-Math.min(Math.max(turned, -0.25), 0.25)), ...this.placeOf(event));
  }

  lifted(event) {
    this.fingers.delete(event.pointerId);
    this.cancel();
  }

  /** The finger is gone, and with it what it was drawing. */
  cancel() {
    this.start = this.lasso = null;
    this.drawing = false;
    this.space.ask("lasso");
    this.space.letGo();
  }

  // --- keys ---

  /** Arrow keys: in 3-D they turn; else, or with Shift, they go through classes and their images by score; with Alt they
   * move what is seen. + and - look closer and farther away, 0 shows all. */
  pressed(event) {
    const { key, shiftKey } = event;
    const { space } = this;
    if (event.ctrlKey || event.metaKey) return; // the browser's own
    const closer = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, _: 1 / 1.5 }[key];
    if (closer || key === "0") {
      event.preventDefault();
      const { hover } = this;
      const about = hover >= 0 ? [space.places[2 * hover], space.places[2 * hover + 1]] : [];
      if (closer) space.zoom(closer, ...about);
      else space.showAll();
      return;
    }
    if (key === "Escape") {
      this.cancel();
      this.point(-1);
      space.select([]);
      return;
    }
    if ((key === "Enter" || key === " ") && this.hover >= 0) {
      event.preventDefault();
      space.select([this.hover], shiftKey);
      return;
    }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
    if (!way) return;
    event.preventDefault();
    if (event.altKey) space.pan(-way[0] * 60, way[1] * 60);
    else if (space.kind === "solid" && !shiftKey) space.turnBy(way[0] * 0.12, way[1] * 0.12);
    else this.walk(...way);
  }

  walk(acrossClasses, byScore) {
    const { cast } = this.space;
    const { rows } = this.space.shown();
    const present = [...new Set(rows.map((i) => cast.entry[i]))].sort((a, b) => a - b);
    if (!present.length) return;
    const here = this.hover >= 0 ? cast.entry[this.hover] : present[0];
    const step = this.hover >= 0 ? acrossClasses : 0;
    const entry = present[(present.indexOf(here) + step + present.length) % present.length];
    const mine = rows.filter((i) => cast.entry[i] === entry).sort((a, b) => cast.score[a] - cast.score[b]);
    const at = entry === here && this.hover >= 0 ? mine.indexOf(this.hover) : -1;
    const next = at < 0 ? 0 : Math.min(Math.max(at + byScore, 0), mine.length - 1);
    this.point(mine[next]);
    write(this.space.voice, this.linesFor(mine[next]).join(", "));
  }
}

/** A key that is held while a wheel or a finger moves what is seen. */
const held = (event) => event.ctrlKey || event.altKey || event.metaKey;
