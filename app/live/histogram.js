// The scores of the images, knowns above and unknowns below one axis, and theta as a handle in it.

const STEP = 1 / 200; // of the axis, an arrow key; ten times that with Shift
const SHARES = 14; // pixels below the scores for the shares of knowns, on an axis by quantiles
const NAME = 18; // pixels of the name of an axis, which stands below the scores by itself
const MARGIN = { left: 64, right: 14, top: 60, bottom: 46 }; // where text is as large as usual

class Histogram {
  constructor(lab) {
    this.lab = lab;
    const hatch = (id, colour, d) =>
      make(
        "pattern",
        { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
        make("rect", { width: 6, height: 6, fill: `var(${colour})`, "fill-opacity": 0.35 }),
        make("path", { d, stroke: `var(${colour})`, "stroke-width": 1.5, fill: "none" }),
      );
    const hatches = make(
      "defs",
      {},
      hatch("wrong", "--known-3", "M-1.5,1.5L1.5,-1.5M0,6L6,0M4.5,7.5L7.5,4.5"),
      hatch("never", "--unknown", "M0,0L6,6M-1.5,4.5L1.5,7.5M4.5,-1.5L7.5,1.5"),
    );
    this.bars = { right: make("path", { class: "right" }), wrong: make("path", {}), never: make("path", {}) };
    this.bars.wrong.setAttribute("fill", "url(#wrong)");
    this.bars.never.setAttribute("fill", "url(#never)");
    this.beyond = make("rect", { class: "beyond" });
    this.axes = make("g", { class: "axes" });
    this.picture = make(
      "svg",
      { "aria-hidden": "true", height: lab.height },
      hatches,
      this.axes,
      this.bars.right,
      this.bars.wrong,
      this.bars.never,
      this.beyond,
    );
    this.pill = make("span", { class: "pill" });
    this.handle = make(
      "div",
      {
        class: "handle",
        role: "slider",
        tabindex: 0,
        "aria-label": lab.say("θ: reject above it"),
        keydown: (event) => this.pressed(event),
      },
      make("span", { class: "side accepted" }, lab.say("accepted")),
      this.pill,
      make("span", { class: "side rejected" }, lab.say("rejected")),
    );
    this.plot = lab.draggable(make("div", { class: "plot" }, this.picture, this.handle), (x) => this.thetaAt(x));
    this.name = make("div", { class: "across", "aria-hidden": "true" }); // a long one goes on in a second line
    this.legend = make("div", { class: "swatches" });
    this.bar = lab.counted(() => this.asked);
    this.node = make("div", {}, this.legend, this.plot, this.name, this.bar.node);
  }

  draw() {
    const { score, label, known, unknown, scale } = this.lab.judged;
    const { labels } = this.lab.feed;
    const edges = (this.edges = edgesOf(scale, BINS));
    const of = (rows) =>
      histogram(
        rows.map((i) => score[i]),
        scale,
        edges,
      );
    const counts = {
      right: of(known.filter((i) => label[i] === labels[i])),
      wrong: of(known.filter((i) => label[i] !== labels[i])),
      never: of(unknown),
    };
    const width = this.plot.clientWidth;
    const { em } = this.lab;
    const [left, right, top, bottom] = [MARGIN.left * em, MARGIN.right, MARGIN.top * em, (MARGIN.bottom - NAME) * em];
    const floor = this.lab.height - bottom - (scale.knots ? SHARES * em : 0);
    const middle = unknown.length ? Math.round((top + floor) / 2) : floor;
    this.box = { left, right: width - right, top, floor, middle };
    attribute(this.picture, "viewBox", `0 0 ${width} ${this.lab.height}`);
    attribute(this.picture, "width", width);
    const tallest = Math.max(1, ...counts.right.map((n, i) => n + counts.wrong[i]));
    const up = (n) => middle - (n / tallest) * (middle - top);
    const deepest = Math.max(1, ...counts.never);
    const down = (n) => middle + (n / deepest) * (floor - middle);
    this.bars.right.setAttribute(
      "d",
      this.steps(
        counts.right,
        () => middle,
        (i) => up(counts.right[i]),
      ),
    );
    this.bars.wrong.setAttribute(
      "d",
      this.steps(
        counts.wrong,
        (i) => up(counts.right[i]),
        (i) => up(counts.right[i] + counts.wrong[i]),
      ),
    );
    this.bars.never.setAttribute(
      "d",
      this.steps(
        counts.never,
        () => middle,
        (i) => down(counts.never[i]),
      ),
    );
    this.drawAxes(tallest, deepest, up, down);
    this.drawLegend(counts);
  }

  /** Bars of these counts, each from `from` to `to`. */
  steps(counts, from, to) {
    const { left, right } = this.box;
    const wide = (right - left) / counts.length;
    const bar = (i) => {
      const [x, y, w, end] = [left + i * wide + 0.5, from(i), wide - 1, to(i)].map((value) => value.toFixed(1));
      return `M${x},${y}h${w}V${end}h-${w}Z`;
    };
    return Array.from(counts, (n, i) => (n ? bar(i) : "")).join("");
  }

  drawAxes(tallest, deepest, up, down) {
    const { say, em } = this.lab;
    const { left, right, top, floor, middle } = this.box;
    const { scale, unknown } = this.lab.judged;
    const marks = [];
    const line = (x1, y1, x2, y2, name) => marks.push(make("line", { x1, y1, x2, y2, class: name }));
    const text = (x, y, anchor, said, name = "") =>
      marks.push(make("text", { x, y, "text-anchor": anchor, class: name }, said));
    for (const n of ticksOf({ low: 0, high: tallest }, 3)) {
      if (n) line(left, up(n), right, up(n), "grid");
      if (n % 1 === 0) text(left - 8, up(n) + 4 * em, "end", String(n));
    }
    if (unknown.length) {
      for (const n of ticksOf({ low: 0, high: deepest }, 3).slice(1)) {
        line(left, down(n), right, down(n), "grid");
        if (n % 1 === 0) text(left - 8, down(n) + 4 * em, "end", String(n));
      }
    }
    const upright = (y, said) =>
      marks.push(
        make("text", { transform: `translate(${14 * em},${y})rotate(-90)`, "text-anchor": "middle", class: "name" }, said),
      );
    upright((top + middle) / 2, say("known images"));
    if (unknown.length) upright((middle + floor) / 2, say("never seen"));
    line(left, middle, right, middle, "base");
    let free = left - 24 * em; // where the label before ends
    for (const x of ticksOf(scale, Math.max(3, Math.floor((right - left) / (70 * em))))) {
      const at = left + placeOn(scale, x) * (right - left);
      line(at, floor, at, floor + 5, "base");
      if (scale.knots && at < free + 24 * em) continue;
      free = at + 24 * em;
      text(at, floor + 19 * em, "middle", shortNumber(x));
      const below = scale.marks?.find(([score]) => score === x)[1];
      if (below) text(at, floor + 33 * em, "middle", percent(below, below > 0.99 ? 1 : 0), "side");
    }
    line(left, floor, right, floor, "base");
    write(
      this.name,
      scale.knots ? say("{score}, and how many of the knowns lie below", { score: this.lab.state.name }) : this.lab.state.name,
    );
    this.axes.replaceChildren(...marks);
  }

  drawLegend(counts) {
    const { say } = this.lab;
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const entries = [
      ["right", say("known, nearest class right"), sum(counts.right), { truth: "known", called: "near" }],
      ["wrong", say("known, nearest class wrong"), sum(counts.wrong), { truth: "known", called: "far" }],
      ["never", say("never seen"), sum(counts.never), { truth: "never" }],
    ].map(([name, said, n, asked]) => {
      const count = this.lab.counted(() => asked);
      count.update(`${said} (${n})`);
      return [name, count.node, n];
    });
    this.legend.replaceChildren(
      ...entries
        .filter(([, , n]) => n)
        .map(([name, said, n]) =>
          make(
            "span",
            { class: "swatch" },
            make(
              "svg",
              { width: 14, height: 14, "aria-hidden": "true" },
              make("rect", {
                width: 14,
                height: 14,
                rx: 2,
                fill: name === "right" ? "var(--known-0)" : `url(#${name})`,
              }),
            ),
            said,
          ),
        ),
    );
  }

  move(theta, counts) {
    const { say, height } = this.lab;
    const { left, right, top, floor } = this.box;
    const { scale } = this.lab.judged;
    const x = left + placeOn(scale, theta) * (right - left);
    this.handle.style.transform = `translateX(${x}px)`;
    this.handle.style.setProperty("--top", `${top}px`);
    this.handle.style.setProperty("--foot", `${height - floor}px`);
    this.handle.classList.toggle("at-left", x - left < 80);
    this.handle.classList.toggle("at-right", right - x < 80);
    for (const [name, value] of Object.entries({ x, y: top, width: Math.max(right - x, 0), height: floor - top })) {
      attribute(this.beyond, name, value);
    }
    write(this.pill, `θ ${number(theta)}`);
    this.count(theta);
    attribute(this.handle, "aria-valuemin", scale.low);
    attribute(this.handle, "aria-valuemax", scale.high);
    attribute(this.handle, "aria-valuenow", theta);
    const values = {
      theta: number(theta),
      kept: percent(counts.kept / counts.knowns, 0),
      caught: percent(counts.caught / counts.unknowns, 0),
    };
    attribute(
      this.handle,
      "aria-valuetext",
      counts.unknowns
        ? say("{theta}, keeps {kept} of knowns, catches {caught} of unknowns", values)
        : say("{theta}, keeps {kept} of knowns", values),
    );
  }

  /** The images of the bar in which theta stands; the first and the last bar hold what lies beyond the axis, too. */
  count(theta) {
    const { say, judged } = this.lab;
    const { score, rows, scale } = judged;
    const bar = Math.min(Math.max(Math.floor(placeOn(scale, theta) * BINS), 0), BINS - 1);
    const low = bar ? this.edges[bar] : null;
    const high = bar < BINS - 1 ? this.edges[bar + 1] : null;
    let n = 0;
    for (const row of rows) n += (low === null || score[row] >= low) && (high === null || score[row] < high);
    this.asked = { low, high };
    const words = { n, low: low === null ? "…" : number(low), high: high === null ? "…" : number(high) };
    this.bar.node.hidden = !this.lab.state.asks;
    this.bar.update(
      n === 1
        ? say("See the one image of the bar at θ, scores {low} to {high}", words)
        : say("See the {n} images of the bar at θ, scores {low} to {high}", words),
      n > 0,
    );
  }

  thetaAt(x) {
    const { left, right } = this.box;
    return scoreAt(this.lab.judged.scale, (x - left) / (right - left));
  }

  pressed(event) {
    const { scale } = this.lab.judged;
    const far = event.shiftKey ? 10 : 1;
    const steps = {
      ArrowLeft: -far,
      ArrowDown: -far,
      ArrowRight: far,
      ArrowUp: far,
      PageDown: -10,
      PageUp: 10,
      Home: -Infinity,
      End: Infinity,
    }[event.key];
    if (steps === undefined) return;
    event.preventDefault();
    this.lab.set("theta", scoreAt(scale, placeOn(scale, this.lab.theta) + steps * STEP));
    this.lab.settleSoon();
  }
}
