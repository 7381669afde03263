// The threshold lab: one picture of four parts. The handle in the histogram is theta; the ROC's point, the confusion
// table and the borderline images follow while it moves.

class Lab extends View {
  moved = ["theta", "temperature", "eps", "sets", "selection", "axis"];

  build() {
    const { say } = this;
    this.words = make("p", { class: "sentence" });
    this.voice = make("p", { class: "unseen", role: "status", "aria-live": "polite" });
    this.tiles = {
      kept: this.tile(say("Knowns kept"), { truth: "known", called: "accepted" }),
      right: this.tile(say("Knowns kept and named right"), { truth: "known", called: "right" }),
      caught: this.tile(say("Unknowns caught"), { truth: "never", called: "rejected" }),
      among: this.tile(say("Unknown among accepted")),
    };
    this.temperature = this.temperatureRange();
    this.eps = this.epsChoice();
    this.sets = this.setChoice(1);
    this.rule = this.ruleButton();
    this.axis = make(
      "button",
      {
        type: "button",
        class: "chip",
        title: say("By quantiles of the knowns: room for their highest scores, among which θ lies"),
        click: () => (this.set("axis", this.judged.scale.knots ? "score" : "quantiles"), this.settleSoon()),
      },
      say("Axis by quantiles"),
    );
    this.histogram = new Histogram(this);
    this.roc = new Roc(this);
    this.borderline = new Borderline(this);
    this.confusion = new Confusion(this);
    const part = (name, head, ...inner) =>
      make("section", { class: `part ${name}` }, make("header", {}, ...head), ...inner);
    const heading = (title) => make("h3", {}, title);
    this.root.append(
      this.words,
      make(
        "div",
        { class: "parts" },
        part("scores", [heading(say("Scores of the images")), this.axis, this.rule.node], this.histogram.node),
        part("roc", [this.roc.title], this.roc.node),
        make(
          "div",
          { class: "whole" },
          make("dl", { class: "numbers" }, ...Object.values(this.tiles).map((tile) => tile.node)),
          make("div", { class: "controls" }, this.temperature.node, this.eps.node, this.sets.node),
        ),
        part("borderline", [heading(say("On either side of θ"))], ...this.borderline.nodes),
        part("decisions", [heading(say("What becomes of each class"))], this.confusion.node),
      ),
      this.voice,
    );
  }

  draw(due) {
    if (["scores", "size", "theme"].some((name) => due.has(name))) {
      this.root.classList.toggle("many", this.feed.width > 8);
      this.temperature.update();
      this.eps.update();
      this.sets.update();
      attribute(this.axis, "aria-pressed", Boolean(this.judged.scale.knots));
      this.histogram.draw();
      this.roc.draw();
      this.borderline.measure();
    }
    this.follow();
    if (due.has("scores")) this.speak();
  }

  /** Everything that follows theta. */
  follow() {
    const { theta } = this;
    const { table, counts } = this.judged.at(theta);
    this.rule.update();
    this.drawWords(counts);
    this.histogram.move(theta, counts);
    this.roc.move(counts);
    this.confusion.fill(table);
    this.borderline.fill(theta);
  }

  drawWords(counts) {
    const { say } = this;
    write(this.words, this.sentence());
    this.fill(this.tiles.kept, counts.kept, counts.knowns);
    this.fill(this.tiles.right, counts.right, counts.knowns);
    this.fill(this.tiles.caught, counts.caught, counts.unknowns);
    const among = counts.unknowns ? unknownAmongAccepted(counts, this.state.share) : NaN;
    write(this.tiles.among.value, percent(among));
    write(
      this.tiles.among.note,
      say("if {share} of 100 images are unknown", { share: Number((100 * this.state.share).toPrecision(3)) }),
    );
    this.tiles.caught.node.hidden = this.tiles.among.node.hidden = !counts.unknowns;
  }

  /** A part in which a finger moves theta: to what `thetaAt` says of a place in it. */
  draggable(node, thetaAt) {
    let before;
    let down = false;
    const follow = (event) => {
      const place = node.getBoundingClientRect();
      this.set("theta", thetaAt(event.clientX - place.left, event.clientY - place.top));
    };
    const end = () => {
      down = false;
      node.classList.remove("held");
      this.release();
    };
    const listeners = {
      pointerdown: (event) => {
        if (event.button) return;
        event.preventDefault();
        node.setPointerCapture(event.pointerId);
        before = this.state.theta;
        down = true;
        node.classList.add("held");
        this.hold();
        this.histogram.handle.focus({ preventScroll: true });
        follow(event);
      },
      pointermove: (event) => down && follow(event),
      pointerup: end,
      pointercancel: () => (this.set("theta", before), end()), // the finger was there to scroll the page
    };
    for (const [name, heard] of Object.entries(listeners)) node.addEventListener(name, heard);
    return node;
  }

  /** Shows the images of one cell of the confusion table, or of all again. */
  look(truth, called) {
    const same = this.looked?.truth === truth && this.looked?.called === called;
    this.looked = truth === null || same ? null : { truth, called };
    this.ask("looked");
  }

  pick(row) {
    if (this.state.asks) {
      const side = this.judged.score[row] > this.theta ? "above" : "below";
      this.see({ ...this.borderline[side].asked(), row });
      return;
    }
    this.state.selection = this.state.selection.includes(row) ? [] : [row];
    this.ask("selection");
    this.settle();
  }
}
