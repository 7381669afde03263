// The numbers of an epoch, some with their line over the epochs, and the histogram of the scores.

function numbersOf(bench) {
  const { say } = bench;
  const isCac = () => bench.state.method === "cac";
  const hasUnknowns = (found) => found.unknown.length > 0;
  const tiles = [
    tileOf(bench, "tuplet", ["L", sub("T")], say("nearer to the own anchor than to others"), isCac),
    tileOf(bench, "anchor", ["L", sub("A")], say("distance to the own anchor"), isCac),
    tileOf(bench, "total", ["L"], say("the loss")),
    tileOf(bench, "accuracy", [say("accuracy")], say("held-out knowns named right")),
    tileOf(bench, "spread", [say("spread")], say("mean distance to the class mean")),
    tileOf(bench, "auroc", ["AUROC"], say("unknowns score higher; 50 % is chance"), hasUnknowns),
  ];
  return partOf(say("Numbers, epoch by epoch"), boxOf("dl", { class: "numbers" }, ...tiles));
}

/** One number; one of the terms of the loss has its line. `there`: whether it means anything now. */
function tileOf(bench, name, title, meaning, there = () => true) {
  const sheet = ["tuplet", "anchor", "total"].includes(name) ? new Sheet(bench, { "aria-hidden": "true" }) : null;
  const value = make("dd", { class: "big" });
  const note = make("dd", { class: "note" }, meaning);
  const node = make("div", { class: "tile" }, make("dt", {}, ...title), value, sheet ? sheet.canvas : "", note);
  const draw = (found) => {
    const { terms } = bench.course;
    node.hidden = !there(found);
    if (node.hidden) return;
    const x = found[name] ?? terms[found.epoch][name];
    if (["accuracy", "auroc"].includes(name)) write(value, percent(x));
    else write(value, Number.isFinite(x) ? number(x) : "–");
    if (!sheet) return;
    sheet.fit(Math.max(node.clientWidth - 30, 60), 40);
    drawLine(sheet, terms.map((one) => one[name]), found.epoch);
  };
  return { node, draw };
}

/** A small line over the epochs; values up to and with the shown one are strong. */
function drawLine(sheet, values, epoch) {
  const { width, height, context } = sheet;
  const { palette } = sheet.bench;
  const top = Math.max(...values.filter(Number.isFinite), 1e-9);
  const last = Math.max(values.length - 1, 20);
  const place = (value, n) => [4 + (n / last) * (width - 12), height - 5 - (value / top) * (height - 12)];
  sheet.lines([[[4, height - 4.5], [width - 4, height - 4.5]]], palette.faint, 1);
  const line = values.map((value, n) => place(Number.isFinite(value) ? value : 0, n));
  sheet.lines([line], palette.faint, 2);
  sheet.lines([line.slice(0, epoch + 1)], palette.known[0], 2);
  context.beginPath();
  context.arc(...line[epoch], 4, 0, 2 * PI);
  context.fillStyle = palette.known[0];
  context.fill();
}

class Scores {
  constructor(bench) {
    this.bench = bench;
    this.sheet = new Sheet(bench, {
      role: "img",
      "aria-label": bench.say("Histogram of the scores: known above, unknown below the line"),
    });
    this.title = make("h3", {});
    const stage = make("div", { class: "stage" }, this.sheet.canvas);
    this.node = make("section", { class: "part scores" }, this.title, stage);
  }

  draw(found, chosen) {
    const { say, course } = this.bench;
    write(
      this.title,
      found.scorer === "gamma"
        ? say("Scores γ, held-out knowns above, unknowns below")
        : say("Scores 1 − p, held-out knowns above, unknowns below"),
    );
    this.sheet.fill(900, 190);
    if (!course.empty) this.drawColumns(found, chosen);
  }

  /** Scores of the held-out knowns above the axis, of the unknowns below it, and theta. */
  drawColumns(found, chosen) {
    const { sheet } = this;
    const { say, palette } = this.bench;
    const { width, height, context } = sheet;
    const scale = scaleOf(found.known, found.unknown);
    const bins = 40;
    const edges = edgesOf(scale, bins);
    const [left, right, top, floor] = [8, width - 8, 24, height - 26];
    const middle = found.unknown.length ? (top + floor) / 2 : floor;
    const place = (x) => left + placeOn(scale, x) * (right - left);
    const bar = (right - left) / bins;
    const theta = place(found.theta);
    const columns = (scores, colour, room) => {
      const counts = histogram(scores, scale, edges);
      const tallest = Math.max(1, ...counts);
      context.fillStyle = colour;
      counts.forEach((n, i) => {
        context.globalAlpha = left + (i + 0.5) * bar > theta ? 0.35 : 0.85;
        context.fillRect(left + i * bar + 0.5, middle, bar - 1, (n / tallest) * room);
      });
      context.globalAlpha = 1;
    };
    columns(found.known, palette.known[0], top - middle);
    columns(found.unknown, palette.unknown, floor - middle);
    sheet.lines([[[left, middle], [right, middle]]], palette.quiet, 1);
    sheet.lines([[[theta, top - 6], [theta, floor + 4]]], palette.text, 2, [5, 4]);
    const pill = Math.min(Math.max(theta, 62), width - 62);
    sheet.text(`θ = ${number(found.theta)}`, pill, 9, palette.text, "center", 600);
    sheet.text(say("← accepted"), left, height - 9, palette.quiet, "left", 400, 12);
    sheet.text(say("rejected →"), right, height - 9, palette.quiet, "right", 400, 12);
    if (chosen) sheet.sign({ shape: "diamond", colour: palette.text }, place(chosen.score), middle, 6);
  }
}
