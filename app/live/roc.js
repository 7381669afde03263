// The ROC curve, where theta is on it, and the curve of the score as its paper has it.

class Roc {
  constructor(lab) {
    this.lab = lab;
    this.title = make("h3");
    this.axes = make("g", { class: "axes" });
    this.area = make("path", { class: "area" });
    this.line = make("path", { class: "curve" });
    this.plain = make("path", { class: "curve plain" });
    this.point = make("circle", { class: "point", r: 8 });
    this.picture = make(
      "svg",
      { height: lab.height, role: "img" },
      this.axes,
      this.area,
      this.plain,
      this.line,
      this.point,
    );
    this.note = make("div", { class: "swatches" });
    this.plot = lab.draggable(make("div", { class: "plot" }, this.picture), (x, y) => this.thetaAt(x, y));
    this.none = make("p", { class: "none" }, lab.say("There are no unknown images here, so there is no ROC curve."));
    this.segment = lab.counted(() => this.asked);
    this.node = make("div", {}, this.note, this.plot, this.segment.node, this.none);
  }

  draw() {
    const { say, judged, height, em } = this.lab;
    const { unknown, known, curve } = judged;
    const able = unknown.length > 0 && known.length > 0;
    this.plot.hidden = this.note.hidden = !able;
    this.segment.node.hidden = !able || !this.lab.state.asks;
    this.none.hidden = able;
    write(this.title, able ? say("AUROC {share}", { share: percent(auroc(curve)) }) : say("ROC curve"));
    if (!able) return;
    const width = this.plot.clientWidth;
    const [left, right, top, bottom] = [MARGIN.left * em, MARGIN.right, 14, MARGIN.bottom * em];
    const box = { left, right: width - right, top, floor: height - bottom };
    attribute(this.picture, "viewBox", `0 0 ${width} ${height}`);
    attribute(this.picture, "width", width);
    const x = (share) => box.left + share * (box.right - box.left);
    const y = (share) => box.floor - share * (box.floor - box.top);
    this.onRoc = ([rejected, caught]) => [x(rejected), y(caught)];
    const path = (corners) =>
      `M${corners
        .map((c) =>
          this.onRoc(c)
            .map((v) => v.toFixed(1))
            .join(","),
        )
        .join("L")}`;
    const corners = rocCorners(curve);
    this.line.setAttribute("d", path(corners));
    this.area.setAttribute("d", `${path(corners)}L${x(1)},${y(0)}L${x(1)},${y(1)}Z`);
    this.drawPlain(path);
    const marks = [];
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const name = share ? "grid" : "base";
      marks.push(make("line", { x1: x(share), x2: x(share), y1: y(0), y2: y(1), class: name }));
      marks.push(make("line", { x1: x(0), x2: x(1), y1: y(share), y2: y(share), class: name }));
      marks.push(make("text", { x: x(share), y: box.floor + 19 * em, "text-anchor": "middle" }, percent(share, 0)));
      marks.push(make("text", { x: box.left - 8, y: y(share) + 4 * em, "text-anchor": "end" }, percent(share, 0)));
    }
    marks.push(make("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "chance" }));
    marks.push(
      make("text", { x: x(0.5), y: box.floor + 39 * em, "text-anchor": "middle", class: "name" }, say("knowns rejected")),
      make(
        "text",
        { transform: `translate(${14 * em},${y(0.5)})rotate(-90)`, "text-anchor": "middle", class: "name" },
        say("unknowns caught"),
      ),
    );
    this.axes.replaceChildren(...marks);
  }

  /** The curve of the score as the paper has it, where T or epsilon are set otherwise. */
  drawPlain(path) {
    const { say, state, feed, extra } = this.lab;
    const { eps, temperature, scorer } = state;
    const changed = !extra && (eps || (temperature !== 1 && TEMPERED.includes(scorer)));
    this.plain.style.display = changed ? "" : "none";
    this.note.replaceChildren();
    if (!changed) return;
    const need = JSON.stringify([feed.id, scorer, state.centres, state.sets]);
    if (this.plainNeed !== need) {
      this.plainNeed = need;
      this.plainCurve = judgedOf(feed, null, { ...state, eps: 0, temperature: 1 }).curve;
    }
    this.plain.setAttribute("d", path(rocCorners(this.plainCurve)));
    const sample = (name) =>
      make("svg", { width: 26, height: 14, "aria-hidden": "true" }, make("path", { d: "M1,7H25", class: name }));
    this.note.append(
      make("span", { class: "swatch" }, sample("curve"), say("as set")),
      make(
        "span",
        { class: "swatch" },
        sample("curve plain"),
        say("T = 1, ε = 0: {share}", { share: percent(auroc(this.plainCurve)) }),
      ),
    );
  }

  move(counts) {
    if (!counts.unknowns || !counts.knowns) return;
    const here = [1 - counts.kept / counts.knowns, counts.caught / counts.unknowns];
    const [cx, cy] = this.onRoc(here);
    attribute(this.point, "cx", cx);
    attribute(this.point, "cy", cy);
    attribute(
      this.picture,
      "aria-label",
      this.lab.say("ROC curve; this θ rejects {rejected} of the knowns and catches {caught} of the unknowns", {
        rejected: percent(here[0]),
        caught: percent(here[1]),
      }),
    );
    this.count();
  }

  /** The images of the curve's segment from theta by rule to this theta: those that it decides otherwise. */
  count() {
    const { say, judged, theta } = this.lab;
    const { score, rows, rule } = judged;
    const [low, high] = [rule, theta].sort((a, b) => a - b);
    const n = rows.filter((row) => score[row] > low && score[row] <= high).length;
    this.asked = { low: this.above(low), high: this.above(high) };
    const words = { n, low: number(low), high: number(high) };
    this.segment.update(
      n === 1
        ? say("See the one image that this θ decides otherwise than the rule, scores {low} to {high}", words)
        : n
        ? say("See the {n} images that this θ decides otherwise than the rule, scores {low} to {high}", words)
        : say("This θ decides every image as the rule does"),
      n > 0,
    );
  }

  /** Halfway from theta to the next score above it: on the same side of all images, and no image's own score. */
  above(theta) {
    const { score, rows } = this.lab.judged;
    let next = Infinity;
    for (const row of rows) if (score[row] > theta && score[row] < next) next = score[row];
    return next === Infinity ? null : (theta + next) / 2;
  }

  /** Theta of the corner of the curve that lies nearest to the finger. */
  thetaAt(x, y) {
    const { curve } = this.lab.judged;
    let best = Infinity;
    let theta = NaN;
    for (let i = 0; i < curve.thetas.length; i++) {
      const [px, py] = this.onRoc(rocCorner(curve, i));
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < best) {
        best = far;
        theta = curve.thetas[i];
      }
    }
    return theta;
  }
}
