// The front of the app: the wheel of the test images, theta below or beside it, and what theta does to them. All of it
// follows the finger. With two known classes the wheel is the plane of both logits.

const CROWD = 3000;

class Front extends Space {
  moved = ["theta"];
  wantsLasso = { flat: false, solid: false };

  prepare() {
    super.prepare();
    [this.state.view] = this.pictures;
    // what was accepted by mistake is to be seen here, unless it would cover all the others
    this.state.top = this.feed.split.filter((split) => split === 1).length < CROWD ? "unknown" : "mixed";
  }

  build() {
    const { say } = this;
    this.voice = make("p", { class: "unseen", role: "status", "aria-live": "polite" });
    Object.assign(this, entriesOf(this.feed, say));
    this.rule = this.ruleButton();
    const move = (place) => this.set("theta", scoreAt(this.judged.scale, place));
    this.thetaRange = this.range(say("θ: reject above it"), move, "θ");
    this.pointer = new Pointer(this);
    this.tiles = {
      kept: this.tile(say("Knowns kept"), { truth: "known", called: "accepted" }),
      right: this.tile(say("Knowns kept and named right"), { truth: "known", called: "right" }),
      caught: this.tile(say("Unknowns caught"), { truth: "never", called: "rejected" }),
    };
    const ends = make("div", { class: "ends" }, make("span", {}, say("stricter")), make("span", {}, say("more lenient")));
    this.root.append(
      make(
        "div",
        { class: "split" },
        make("div", { class: "middle" }, this.buildStage()),
        make(
          "div",
          { class: "beside" },
          make("div", { class: "theta" }, this.thetaRange.node, ends),
          make("dl", { class: "numbers" }, ...Object.values(this.tiles).map(({ node }) => node)),
          this.buildKeys(),
          make("div", { class: "foot" }, this.rule.node, this.buildTools()),
        ),
      ),
      this.voice,
    );
  }

  /** What each sign says: the truth by its kind, the decision by how it is drawn; with how many there are of each. */
  buildKeys() {
    const { say, feed } = this;
    const key = (sign, said, asked, size = 18) => {
      const count = asked && this.counted(() => asked);
      const node = make("span", { class: "swatch" }, signPicture(sign, size), said, count && make("b", {}, count.node));
      return { node, count };
    };
    const text = "currentColor";
    this.keys = {
      kept: key({ shape: "circle", colour: text }, say("known, accepted"), { truth: "known", called: "accepted" }),
      lost: key({ shape: "circle", hollow: true, colour: text }, say("known, rejected"), { truth: "known", called: "rejected" }),
      caught: key({ shape: "cross", hollow: true, colour: "var(--unknown)" }, say("never seen, rejected"), {
        truth: "never",
        called: "rejected",
      }),
      missed: key({ shape: "cross", ring: true, hollow: true, colour: "var(--unknown)" }, say("never seen, accepted"), {
        truth: "never",
        called: "accepted",
      }),
    };
    const fixed = [
      feed.anchors && key({ shape: "star", colour: text }, say("anchor")),
      key({ shape: "circle", hollow: true, colour: "var(--st-text-color)" }, say("class mean"), null, 26),
    ];
    // classes are named around the wheel; where there is none, here
    this.signs = this.state.view === "wheel" ? [] : feed.header.known.map(() => this.rimSign());
    const classes = this.signs.map((sign, c) => make("span", { class: "swatch" }, sign, feed.header.known[c]));
    const keys = [...Object.values(this.keys), ...fixed].map((one) => one && one.node);
    return make("div", { class: "keys" }, ...classes, ...keys);
  }

  fit() {
    super.fit();
    this.signs.forEach((node, c) => node.replaceChildren(signPicture(signOf(c, true, this.palette), 18)));
  }

  /** The name of a class beside the wheel, with its sign; it stays where it is. */
  rimName(name) {
    return make("span", { class: "rim still" }, this.rimSign(), make("span", { class: "name" }, name));
  }

  draw(due) {
    const has = (...names) => names.some((name) => due.has(name));
    if (has("size", "theme")) this.fit();
    if (has("scores")) this.cast = this.castOfImages();
    if (has("scores", "size", "theme")) this.layOut();
    else if (has("camera")) this.look();
    this.paint();
    this.drawTheta();
    this.count();
    this.pointer.showTip();
    if (has("scores", "theta")) this.speak();
  }

  /** The three shares, the counts beside the signs, and the sentence for those who do not see the picture. */
  count() {
    const { say, theta } = this;
    const { counts } = this.judged.at(theta);
    this.fill(this.tiles.kept, counts.kept, counts.knowns);
    this.fill(this.tiles.right, counts.right, counts.knowns);
    this.fill(this.tiles.caught, counts.caught, counts.unknowns);
    const { keys } = this;
    const [lost, missed] = [counts.knowns - counts.kept, counts.unknowns - counts.caught];
    for (const [name, n] of Object.entries({ kept: counts.kept, lost, caught: counts.caught, missed })) {
      keys[name].count.update(String(n), n > 0);
    }
    this.tiles.caught.node.hidden = keys.caught.node.hidden = keys.missed.node.hidden = !counts.unknowns;
    const numbers = {
      known: counts.knowns,
      kept: counts.kept,
      theta: number(theta),
      unknown: counts.unknowns,
      caught: counts.caught,
    };
    const whole = say(
      "The wheel of the logits: {known} images of known classes, of which {kept} are accepted at theta {theta}, and {unknown} images of classes never seen, of which {caught} are rejected.",
      numbers,
    );
    attribute(this.canvas, "aria-label", whole);
  }

  /** What is pointed at is told; nothing is gathered here. */
  select() {}
}
