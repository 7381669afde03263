// The anchor lab: a network that is trained while one watches. It trains here, in the page; the address says with what.

const PACE = 15; // epochs a second while it plays
const CATCH_UP = 25; // milliseconds of a frame that go into training where it has to get somewhere
const LEG = 100; // epochs that Play goes on for
const SETTINGS = {
  alpha: [1, 2, 5, 10, 20, 50],
  lambda: [0, 0.01, 0.03, 0.1, 0.3, 1, 3],
  rate: [0.001, 0.003, 0.01, 0.03, 0.1],
  noise: Array.from({ length: 21 }, (_, n) => n / 20),
  width: [4, 8, 16, 32, 64],
  kept: [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 1],
};
const last = {}; // the state of each lab on this page, for when one comes back to it

class Bench {
  constructor(root) {
    this.root = root;
    this.sheets = {};
    this.due = new Set();
    this.probe = { row: 0 }; // what is spoken of: {row} or {x}
    this.tool = "choose";
    this.playing = false;
    this.plane = new Plane();
    this.solid = new Solid();
    let wide = 0;
    this.watcher = new ResizeObserver(() => {
      if (root.clientWidth !== wide) this.ask("size");
      wide = root.clientWidth;
    });
    this.watcher.observe(root);
    this.themes = new MutationObserver(() => this.ask("theme"));
    for (const node of [document.documentElement, document.body]) {
      this.themes.observe(node, { attributes: true, attributeFilter: ["style", "class"] });
    }
  }

  close() {
    this.watcher.disconnect();
    this.themes.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.speaking);
    clearTimeout(this.writing);
    this.closed = true;
  }

  /** A message from Python. The same preset again changes nothing. */
  receive({ data }) {
    const { key, preset, show, hide, link, height, digits, words, palettes } = data;
    Object.assign(this, { show, link, height, digits, palettes });
    this.say = speaker(words);
    const said = JSON.stringify([preset, show, hide, link, height, words]);
    if (said !== this.heard) {
      this.heard = said;
      this.usual = settled({ ...STATE, ...preset });
      const asked = link ? stateFrom(window.location.search) : {};
      const before = link && !Object.keys(asked).length ? last[key] : null;
      this.key = key;
      this.hide = [...hide, ...(link ? hiddenIn(window.location.search) : [])];
      this.begin(settled({ ...this.usual, ...(before ?? asked) }));
      this.build();
      if (preset.play && !before) this.play();
    }
    this.ask("theme", "size", "all");
  }

  // --- what is trained -------------------------------------------------------------------------------------------------

  /** A new course for a state; it is trained to the epoch that the state names. */
  begin(state) {
    this.state = state;
    this.goal = state.epoch;
    this.course = new Course(state, this.digits);
    this.epoch = Math.min(state.epoch, this.course.trained);
    if (this.probe && !(this.probe.row < this.course.data.labels.length)) this.probe = null;
  }

  /** Something was set: the course begins anew, or only what is looked at changes. */
  set(changes, rebuild = false) {
    const state = settled({ ...this.state, ...changes });
    const same = courseKey(state) === courseKey(this.state);
    if (same) {
      this.state = state;
      this.course.meet(state, this.digits);
      if (this.probe && !(this.probe.row < this.course.data.labels.length)) this.probe = null;
    } else this.begin({ ...state, epoch: this.playing ? state.epoch : Math.max(this.epoch, this.goal) });
    if (rebuild || state.data !== this.builtFor) this.build();
    this.ask("all");
    this.note();
  }

  play() {
    this.playing = !this.course.empty;
    this.end = Math.min((Math.floor(this.epoch / LEG) + 1) * LEG, MOST_EPOCHS);
    this.since = performance.now();
    this.ask("all");
  }

  pause() {
    this.playing = false;
    this.goal = Math.min(this.goal, this.course.trained);
    this.note();
    this.ask("all");
  }

  go(epoch) {
    this.playing = false;
    this.goal = Math.min(Math.max(epoch, 0), MOST_EPOCHS);
    this.epoch = Math.min(this.goal, this.course.trained);
    this.note();
    this.ask("all");
  }

  restart() {
    this.playing = false;
    this.goal = this.epoch = 0;
    this.note();
    this.ask("all");
  }

  /** At each frame: trains what is due, then draws. */
  tick() {
    const { course } = this;
    if (this.course.empty) {
      this.playing = false;
      this.goal = this.epoch;
    }
    if (this.goal > course.trained) {
      const until = performance.now() + CATCH_UP;
      while (course.trained < this.goal && performance.now() < until && !this.course.empty) course.train();
      this.epoch = course.trained;
      this.due.add("all");
    } else if (this.playing && performance.now() - this.since >= 1000 / PACE - 4) {
      this.since = performance.now();
      if (this.epoch === course.trained) course.train();
      this.epoch += 1;
      this.goal = this.epoch;
      this.due.add("all");
      if (this.epoch >= this.end) this.pause();
    }
  }

  ask(...what) {
    for (const name of what) this.due.add(name);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.closed || !this.heard || !this.root.clientWidth) return;
      this.tick();
      const due = this.due;
      this.due = new Set();
      if (due.has("theme")) this.takeTheme();
      if (due.size) this.draw();
      if (this.playing || this.goal > this.course.trained) this.ask();
    });
  }

  takeTheme() {
    this.palette = paletteFor(this.root, this.palettes);
    this.palette.dark = this.root.classList.contains("dark");
    const style = getComputedStyle(this.root);
    this.palette.quiet = `color-mix(in srgb, ${this.palette.text} 55%, ${this.palette.surface})`;
    this.font = style.fontFamily;
  }

  /** Puts the state into the address, and a sentence where it is read aloud, once things are quiet. */
  note() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      this.state.epoch = this.epoch;
      last[this.key] = { ...this.state };
      if (this.link) {
        const href = addressOf(window.location.href, this.state, this.usual, hiddenIn(window.location.search));
        if (href !== window.location.href) window.history.replaceState(window.history.state, "", href);
      }
    }, 250);
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => this.voice && write(this.voice, this.sentence()), 900);
  }

  // --- the parts -------------------------------------------------------------------------------------------------------

  shows(name) {
    return this.show.includes(name);
  }

  allows(name) {
    return !this.hide.includes(name);
  }

  build() {
    this.builtFor = this.state.data;
    this.sheets = {};
    this.updates = [];
    this.voice = make("div", { class: "unseen", role: "status" });
    this.said = make("p", { class: "said" });
    this.warning = make("p", { class: "warning", role: "alert", hidden: true });
    const pictures = make("div", { class: "pictures" });
    if (this.shows("input")) pictures.append(this.state.data === "digits" ? this.gallery() : this.planePart());
    if (this.shows("logits")) pictures.append(this.solidPart());
    if (this.shows("loss")) pictures.append(this.formulaPart());
    const lower = make("div", { class: "lower" });
    if (this.shows("curves")) lower.append(this.curvesPart());
    if (this.shows("scores")) lower.append(this.scoresPart());
    this.root.replaceChildren(
      this.voice,
      this.choices(),
      this.player(),
      this.warning,
      this.said,
      pictures,
      lower,
      this.settings(),
      this.link && this.allows("share") ? this.exercise() : "",
    );
    this.ask("theme", "size", "all");
  }

  /** What changes with the state, called at each drawing. */
  follow(update) {
    this.updates.push(update);
  }

  chooser(name, label, options, read = (value) => value) {
    if (!this.allows(name)) return "";
    const select = make(
      "select",
      { change: () => this.set({ [name]: read(options[select.selectedIndex][0]) }, true) },
      ...options.map(([, words]) => make("option", {}, words)),
    );
    this.follow(() => {
      const at = options.findIndex(([value]) => String(value) === String(this.state[name]));
      if (select.selectedIndex !== at) select.selectedIndex = at;
    });
    return make("label", { class: "choice" }, make("span", { class: "label" }, label), select);
  }

  choices() {
    const { say } = this;
    const digits = this.state.data === "digits";
    const data = this.chooser("data", say("Data"), [
      ["blobs", say("three blobs")],
      ["moons", say("three moons")],
      ["spirals", say("three spirals")],
      ["drawn", say("your own points")],
      ...(this.digits ? [["digits", say("three digits")]] : []),
    ]);
    const parts = [data];
    if (digits && this.allows("classes")) parts.push(this.digitChips());
    if (this.allows("method")) {
      const tab = (method, words) => {
        const button = make(
          "button",
          { type: "button", role: "radio", click: () => this.set({ method }) },
          words,
        );
        this.follow(() => attribute(button, "aria-checked", this.state.method === method));
        return button;
      };
      parts.push(
        make(
          "div",
          { class: "tabs", role: "radiogroup", "aria-label": say("Method") },
          tab("cac", "CAC"),
          tab("softmax", "softmax"),
        ),
      );
    }
    const names = {
      none: say("none"), blob: say("a blob"), ring: say("a ring, far out"), noise: say("noise"),
      digit: say("another digit"), drawing: say("what you draw"),
    };
    parts.push(
      this.chooser(
        "unknown",
        say("Unknown"),
        UNKNOWNS[digits ? "digits" : "plane"].map((kind) => [kind, names[kind]]),
      ),
    );
    if (digits && this.state.unknown === "digit") {
      const others = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter((digit) => !this.state.classes.includes(digit));
      parts.push(this.chooser("stranger", say("Digit"), others.map((digit) => [digit, String(digit)])));
    }
    return make("div", { class: "controls top" }, ...parts);
  }

  /** Ten digits, three of which are known: a press takes the place of the one that was chosen first. */
  digitChips() {
    const chips = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((digit) => {
      const chip = make(
        "button",
        {
          type: "button",
          class: "chip digit",
          click: () => {
            if (!this.state.classes.includes(digit)) {
              this.set({ classes: [...this.state.classes.slice(1), digit] }, true);
            }
          },
        },
        String(digit),
      );
      this.follow(() => attribute(chip, "aria-pressed", this.state.classes.includes(digit)));
      return chip;
    });
    return make("div", { class: "choice sets", role: "group", "aria-label": this.say("Known digits") },
      make("span", { class: "label" }, this.say("Known")), ...chips);
  }

  player() {
    if (!this.allows("play")) return "";
    const { say } = this;
    const button = (words, click, extra = "") => make("button", { type: "button", class: `chip ${extra}`, click }, words);
    const play = button("", () => (this.playing ? this.pause() : this.play()), "play primary");
    const step = button(say("Step"), () => this.go(this.epoch + 1));
    const again = button(say("Restart"), () => this.restart());
    const slider = make("input", {
      type: "range", min: 0, step: 1, "aria-label": say("Epoch"),
      input: () => this.go(Number(slider.value)),
    });
    const value = make("output", { class: "value" });
    this.follow(() => {
      write(play, this.playing ? say("Pause") : say("Play"));
      play.disabled = this.course.empty || this.epoch >= MOST_EPOCHS;
      step.disabled = play.disabled;
      attribute(slider, "max", Math.max(LEG, Math.ceil(this.course.trained / LEG) * LEG));
      if (Number(slider.value) !== this.epoch) slider.value = this.epoch;
      attribute(slider, "aria-valuetext", say("epoch {epoch}", { epoch: this.epoch }));
      const { goal } = this;
      write(
        value,
        goal > this.course.trained
          ? say("epoch {epoch} of {goal}…", { epoch: this.epoch, goal })
          : say("epoch {epoch}", { epoch: this.epoch }),
      );
    });
    const range = this.allows("epoch") ? make("label", { class: "range epochs" }, slider, value) : "";
    return make("div", { class: "controls player" }, play, step, again, range);
  }

  settings() {
    const { say } = this;
    const labels = {
      alpha: ["α", say("length of the anchors")],
      lambda: ["λ", say("weight of the anchor term")],
      rate: [say("learning rate"), ""],
      noise: [say("noise"), ""],
      width: [say("neurons a layer"), ""],
      kept: [say("knowns kept"), say("θ follows from it")],
    };
    const sliders = Object.entries(labels).map(([name, [label, meaning]]) => {
      if (!this.allows(name)) return "";
      const usual = SETTINGS[name];
      const values = usual.includes(this.state[name])
        ? usual
        : [...usual, this.state[name]].sort((a, b) => a - b);
      const shown = (x) => (name === "kept" ? `${Math.round(100 * x)} %` : String(Number(x.toPrecision(3))));
      const value = make("output", { class: "value" });
      const slider = make("input", {
        type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": meaning ? `${label}, ${meaning}` : label,
        input: () => {
          write(value, shown(values[slider.value]));
          if (name === "kept") this.set({ kept: values[slider.value] });
        },
        change: () => this.set({ [name]: values[slider.value] }),
      });
      slider.value = values.indexOf(this.state[name]);
      write(value, shown(this.state[name]));
      const node = make(
        "label", { class: "range setting", title: meaning }, make("span", { class: "label" }, label), slider, value,
      );
      this.follow(() => {
        node.hidden = this.state.method === "softmax" && ["alpha", "lambda"].includes(name)
          || this.state.data === "drawn" && name === "noise";
        attribute(slider, "aria-valuetext", shown(values[slider.value]));
      });
      return node;
    });
    if (this.allows("seed")) {
      const seed = make("input", {
        type: "number", min: 0, max: 999999, step: 1,
        change: () => {
          const asked = whole(0, 999999)(seed.value);
          if (asked === undefined) seed.value = this.state.seed;
          else this.set({ seed: asked });
        },
      });
      seed.value = this.state.seed;
      sliders.push(make("label", { class: "range setting" }, make("span", { class: "label" }, say("seed")), seed));
    }
    return make("div", { class: "controls settings" }, ...sliders);
  }

  part(title, ...children) {
    return make("section", { class: "part" }, make("h3", {}, title), ...children);
  }

  legend(...entries) {
    const items = entries.map(([sign, words]) => {
      const mark = make("span", { class: "mark" });
      this.follow(() => mark.replaceChildren(signPicture(sign(), 15)));
      return make("span", { class: "swatch" }, mark, words);
    });
    return make("div", { class: "swatches" }, ...items);
  }

  // --- the plane of the inputs -----------------------------------------------------------------------------------------

  planePart() {
    const { say } = this;
    const sheet = (this.sheets.plane = new Sheet({
      tabindex: 0,
      role: "img",
      "aria-label": say("The plane of the inputs: points of three classes, and what the network would call each place"),
      keydown: (event) => this.walk(event),
    }));
    const stage = make("div", { class: "stage plane" }, sheet.canvas);
    const at = (event) => {
      const place = stage.getBoundingClientRect();
      return [event.clientX - place.left, event.clientY - place.top];
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      stage.setPointerCapture(event.pointerId);
      sheet.canvas.focus({ preventScroll: true });
      this.finger = this.touched(...at(event));
    });
    stage.addEventListener("pointermove", (event) => this.finger?.(...at(event)));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => this.letGo());
    const tools = this.allows("draw") ? this.tools() : "";
    const entries = LETTERS.map((name, c) => [() => signFor(c, true, this.palette), name]);
    return this.part(
      say("What the network sees"),
      stage,
      tools,
      this.legend(
        ...entries,
        [() => signFor(0, false, this.palette), say("rejected")],
        ...(this.state.unknown === "none" ? [] : [[() => signFor(-1, false, this.palette), say("unknown")]]),
      ),
      make("p", { class: "note" }, say("Hatched: rejected as unknown. Click a point, or any place, to see its numbers.")),
    );
  }

  tools() {
    const { say } = this;
    const names = [
      ["choose", say("choose"), ""],
      ...LETTERS.map((name, c) => [String(c), `+ ${name}`, say("draw points of class {name}", { name })]),
      ["3", say("+ unknown"), say("draw unknown points")], ["move", say("move"), ""], ["erase", say("erase"), ""],
    ];
    const chips = names.map(([tool, words, meaning]) => {
      const more = meaning ? { title: meaning, "aria-label": meaning } : {};
      const chip = make("button", { type: "button", class: "chip small", click: () => this.take(tool), ...more }, words);
      this.follow(() => attribute(chip, "aria-pressed", this.tool === tool));
      return chip;
    });
    return make("div", { class: "choice sets tools", role: "group", "aria-label": say("Tool") }, ...chips);
  }

  take(tool) {
    this.tool = tool;
    this.ask("all");
  }

  /** The finger goes down on the plane; gives what it does while it moves. */
  touched(px, py) {
    const side = this.sheets.plane.width;
    const toPlane = (x, y) => this.plane.toPlane(x, y, side);
    const near = this.nearest(px, py, 14);
    if (this.tool === "choose") {
      const [ax, ay] = this.plane.toPage(...this.state.at, side);
      if (this.state.unknown === "blob" && Math.hypot(ax - px, ay - py) < 24 && this.allows("draw")) {
        return (x, y) => this.set({ at: toPlane(x, y).map((v) => Number(Math.min(Math.max(v, -VIEW), VIEW).toFixed(2))) });
      }
      const choose = (x, y) => {
        const row = this.nearest(x, y, 9);
        this.probe = row >= 0 ? { row } : { x: Float64Array.from(toPlane(x, y)) };
        this.ask("all");
      };
      choose(px, py);
      return choose;
    }
    const points = this.pointsNow();
    this.drawn = points;
    if (this.tool === "move") {
      if (near < 0) return null;
      return (x, y) => {
        [points[near].x, points[near].y] = toPlane(x, y);
        this.redrawn(points);
      };
    }
    let before = null;
    const act = (x, y) => {
      if (before && Math.hypot(x - before[0], y - before[1]) < 9) return;
      before = [x, y];
      const [cx, cy] = toPlane(x, y);
      if (this.tool === "erase") {
        const left = this.drawn.filter((point) => Math.hypot(point.x - cx, point.y - cy) > 0.3);
        if (left.length === this.drawn.length) return;
        this.drawn = left;
      } else if (this.drawn.length < MOST_POINTS) this.drawn.push({ x: cx, y: cy, c: Number(this.tool) });
      this.redrawn(this.drawn);
    };
    act(px, py);
    return act;
  }

  letGo() {
    this.finger = null;
    this.note();
  }

  nearest(px, py, most) {
    const { x, labels } = this.course.data;
    let best = most;
    let found = -1;
    for (let i = 0; i < labels.length; i++) {
      const [ax, ay] = this.plane.toPage(x[2 * i], x[2 * i + 1], this.sheets.plane.width);
      const far = Math.hypot(ax - px, ay - py);
      if (far < best) [best, found] = [far, i];
    }
    return found;
  }

  pointsNow() {
    const { x, labels } = this.course.data;
    return Array.from(labels, (label, i) => ({ x: x[2 * i], y: x[2 * i + 1], c: label < 0 ? 3 : label }));
  }

  /** Points were drawn, moved or erased. Only where a known one changed is there anything to train anew. */
  redrawn(points) {
    const knowns = (some) => pointsToText(some.filter(({ c }) => c < 3));
    const touched = knowns(points) !== knowns(this.pointsNow());
    const data = touched ? "drawn" : this.state.data;
    const unknown = points.some(({ c }) => c === 3) ? "drawing" : this.state.unknown;
    const kept = data === "drawn" ? points : points.filter(({ c }) => c === 3);
    this.set({ data, unknown, points: pointsToText(kept) });
  }

  /** Left and right go through the points, by key. */
  walk(event) {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    const { length } = this.course.data.labels;
    this.probe = { row: ((this.probe?.row ?? (way > 0 ? -1 : 0)) + way + length) % length };
    this.ask("all");
    this.note();
  }

  // --- digits instead of a plane ---------------------------------------------------------------------------------------

  gallery() {
    const { say } = this;
    const { data } = this.course;
    const groups = [0, 1, 2].map((c) => [data.names[c], c, 5]);
    if (this.state.unknown !== "none") groups.push([say("unknown"), -1, 10]);
    const lists = groups.map(([name, label, most]) => {
      const rows = Array.from(data.labels.keys()).filter((i) => data.labels[i] === label && data.held[i]).slice(0, most);
      return make(
        "div", { class: "group" }, make("h4", {}, label < 0 ? name : say("digit {name}", { name })),
        make("div", { class: "thumbs" }, ...rows.map((row) => this.thumb(row))),
      );
    });
    const pad = this.state.unknown === "drawing" && this.allows("draw") ? [this.pad()] : [];
    return this.part(
      say("What the network sees"),
      ...pad,
      ...lists,
      make("p", { class: "note" }, say("Images that it was not trained on. Click one to see its numbers.")),
    );
  }

  thumb(row) {
    const { data } = this.course;
    const picture = make("canvas", { class: "digit", "aria-hidden": "true" });
    drawDigit(picture, data.x.subarray(row * data.inputs, (row + 1) * data.inputs));
    const said = make("span", { class: "word" });
    const button = make(
      "button",
      { type: "button", class: "thumb", click: () => ((this.probe = { row }), this.ask("all"), this.note()) },
      picture,
      said,
    );
    this.follow((found) => {
      const accepted = found.score[row] <= found.theta;
      const fine = data.labels[row] < 0 ? !accepted : accepted && found.label[row] === data.labels[row];
      const word = accepted ? data.names[found.label[row]] : this.say("unknown");
      write(said, `${fine ? "✓" : "✗"} ${word}`);
      attribute(button, "aria-pressed", this.probe?.row === row);
      button.classList.toggle("wrong", !fine);
    });
    return button;
  }

  /** A pad to draw on; the drawing is fitted into eight by eight pixels as the digits are. */
  pad() {
    const { say } = this;
    const size = 144;
    const canvas = make("canvas", {
      class: "pad", width: size, height: size, role: "img", "aria-label": say("Draw here with the mouse or a finger"),
    });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(context, { lineWidth: 15, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
    const clear = () => {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, size, size);
    };
    clear();
    let from = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = at(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      context.beginPath();
      context.moveTo(...from);
      from = at(event);
      context.lineTo(...from);
      context.stroke();
      this.sketched(fitted(canvas));
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (from = null));
    const wipe = make("button", { type: "button", class: "plain", click: () => (clear(), this.sketched("")) }, say("Clear"));
    return make("div", { class: "padding" }, canvas, make("div", {}, make("p", { class: "note" }, say("Draw anything.")), wipe));
  }

  sketched(drawing) {
    this.state.drawing = drawing;
    this.course.meet(this.state, this.digits);
    const row = this.course.data.labels.length - 1;
    this.probe = drawing ? { row } : null;
    this.ask("all");
    this.note();
  }

  // --- the space of the logits -----------------------------------------------------------------------------------------

  solidPart() {
    const { say } = this;
    const sheet = (this.sheets.solid = new Sheet({
      tabindex: 0,
      role: "img",
      "aria-label": say("The space of the three logits with the anchors on its axes. Arrow keys turn it."),
      keydown: (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!way) return;
        event.preventDefault();
        event.stopPropagation();
        this.solid.turnBy(way[0] * 0.12, way[1] * 0.12);
        this.ask("all");
      },
    }));
    const stage = make("div", { class: "stage turns" }, sheet.canvas);
    let from = null;
    let moved = false;
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      from = [event.clientX, event.clientY];
      moved = false;
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [x, y] = [event.clientX, event.clientY];
      moved ||= Math.hypot(x - from[0], y - from[1]) > 3;
      if (!moved) return;
      this.solid.turnBy((from[0] - x) * 0.008, (y - from[1]) * 0.008);
      from = [x, y];
      this.ask("all");
    });
    stage.addEventListener("pointerup", (event) => {
      from = null;
      if (moved) return;
      const box = stage.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let best = 14;
      this.solid.places?.forEach((place, row) => {
        const far = Math.hypot(place[0] - x, place[1] - y);
        if (far < best) {
          best = far;
          this.probe = { row };
        }
      });
      this.ask("all");
      this.note();
    });
    stage.addEventListener("pointercancel", () => (from = null));
    const star = [() => ({ shape: "star", colour: this.palette.text }), say("anchor")];
    const mean = [() => ({ shape: "circle", colour: this.palette.of(0) }), say("large: class mean")];
    const legend = make("div", {});
    this.follow(() => {
      const cac = this.state.method === "cac";
      if (legend.dataset.method === this.state.method) return;
      legend.dataset.method = this.state.method;
      const before = this.updates.length;
      legend.replaceChildren(this.legend(...(cac ? [star, mean] : [mean])));
      this.updates.splice(before).forEach((update) => update()); // drawn once; the theme draws them anew
      legend.dataset.method = this.state.method;
    });
    return this.part(
      say("Where its three logits put it"),
      stage,
      legend,
      make("p", { class: "note" }, say("Exact: no dimension is left out. The thin rings are the surface where the score is θ. Drag to turn.")),
    );
  }

  // --- the formulas ----------------------------------------------------------------------------------------------------

  formulaPart() {
    this.formula = make("div", { class: "formula" });
    return this.part(this.say("The formulas, filled in"), this.formula);
  }

  /** The point that is spoken of: row (-1 for a free place), x, z, label (-1 without a truth), score. */
  chosen(found) {
    const { data } = this.course;
    if (!this.probe) return null;
    const row = this.probe.row ?? -1;
    if (row >= data.labels.length || (row < 0 && !data.plane)) return null;
    const x = row >= 0 ? data.x.subarray(row * data.inputs, (row + 1) * data.inputs) : this.probe.x;
    const z = this.course.logitsAt(found.epoch, Float64Array.from(x));
    const { score, label } = verdictOf(found.scorer, z, WIDTH, found.centres, 1);
    return { row, x, z, truth: row >= 0 ? data.labels[row] : -1, score: score[0], nearest: label[0] };
  }

  fill(found, chosen) {
    const { say } = this;
    if (!chosen) {
      const phrase = this.state.data === "digits" ? say("Click an image: its numbers appear here.")
        : say("Click a point, or any place: its numbers appear here.");
      this.formula.replaceChildren(make("p", { class: "note" }, phrase), ...this.meanTerms(found));
      return;
    }
    const lines = this.state.method === "cac" ? this.cacLines(found, chosen) : this.softmaxLines(found, chosen);
    this.formula.replaceChildren(...lines);
  }

  titled(words, ...parts) {
    return make("div", { class: "line" }, make("span", { class: "what" }, words), make("span", { class: "sum" }, ...parts));
  }

  verdictLine(found, chosen, name) {
    const { say } = this;
    const names = this.course.data.names;
    const accepted = chosen.score <= found.theta;
    const numbers = `${name} = ${number(chosen.score)} ${accepted ? "≤" : ">"} θ = ${number(found.theta)}`;
    const words = accepted ? say("accepted as {name}", { name: names[chosen.nearest] }) : say("rejected: unknown");
    return make("p", { class: "verdict" }, numbers, make("strong", {}, words));
  }

  truthLine({ row, truth }) {
    const { say } = this;
    const words = row < 0 ? say("A place where no point is") : truth < 0 ? say("An unknown") : say("Of class {name}", { name: this.course.data.names[truth] });
    return make("p", { class: "truth" }, words);
  }

  cacLines(found, chosen) {
    const { say, state } = this;
    const { names } = this.course.data;
    const sub = (text) => make("sub", {}, text);
    const sup = (text) => make("sup", {}, text);
    const lines = [this.truthLine(chosen)];
    if (chosen.truth >= 0) {
      const y = chosen.truth;
      const { d, tuplet, anchor } = termsAt(chosen.z, 0, WIDTH, anchorsOf(WIDTH, state.alpha), y);
      const others = [0, 1, 2].filter((j) => j !== y);
      lines.push(
        this.titled(
          say("distances to the anchors"),
          ...[0, 1, 2].flatMap((j) => [j ? ",  " : "", "d", sub(names[j]), ` = ${number(d[j])}`]),
        ),
        this.titled(
          say("to be nearer to its own anchor"),
          "L", sub("T"), " = log(1 + ",
          ...others.flatMap((j, n) => [n ? " + " : "", "e", sup(`${number(d[y])} − ${number(d[j])}`)]),
          `) = ${number(tuplet)}`,
        ),
        this.titled(say("to be near to it"), "L", sub("A"), " = d", sub(names[y]), ` = ${number(anchor)}`),
        this.titled(
          say("the loss"),
          "L = L", sub("T"), " + λ L", sub("A"),
          ` = ${number(tuplet)} + ${number(state.lambda)} · ${number(anchor)} = ${number(tuplet + state.lambda * anchor)}`,
        ),
      );
    }
    const { d, softmin } = termsAt(chosen.z, 0, WIDTH, found.centres, 0);
    lines.push(
      this.titled(
        say("distances to the class means"),
        ...[0, 1, 2].flatMap((j) => [j ? ",  " : "", "d", sub(names[j]), ` = ${number(d[j])}`]),
      ),
      ...[0, 1, 2].map((j) =>
        this.titled(
          j ? "" : "γ = d · (1 − softmin d)",
          "γ", sub(names[j]), ` = ${number(d[j])} · ${number(1 - softmin[j])} = ${number(d[j] * (1 - softmin[j]))}`,
        ),
      ),
      this.verdictLine(found, chosen, "γ"),
    );
    return lines;
  }

  softmaxLines(found, chosen) {
    const { say } = this;
    const { names } = this.course.data;
    const sub = (text) => make("sub", {}, text);
    const { p, log } = softmaxAt(chosen.z, 0, WIDTH);
    const lines = [
      this.truthLine(chosen),
      this.titled(say("logits"), ...[0, 1, 2].flatMap((j) => [j ? ",  " : "", "z", sub(names[j]), ` = ${number(chosen.z[j])}`])),
      this.titled(say("softmax"), ...[0, 1, 2].flatMap((j) => [j ? ",  " : "", "p", sub(names[j]), ` = ${percent(p[j])}`])),
    ];
    if (chosen.truth >= 0) {
      lines.push(this.titled(say("the loss"), "L = − log p", sub(names[chosen.truth]), ` = ${number(-log(chosen.truth))}`));
    }
    lines.push(
      this.titled(say("the score"), `1 − ${say("largest p")} = ${number(chosen.score)}`),
      this.verdictLine(found, chosen, say("score")),
    );
    return lines;
  }

  meanTerms(found) {
    const { say } = this;
    const terms = this.course.terms[found.epoch];
    const sub = (text) => make("sub", {}, text);
    if (this.state.method !== "cac") return [this.titled(say("mean loss"), "L = − log p", sub("y"), ` = ${number(terms.total)}`)];
    return [
      this.titled(say("means over the training points"), ""),
      this.titled("", "L", sub("T"), ` = ${number(terms.tuplet)}`),
      this.titled("", "L", sub("A"), ` = ${number(terms.anchor)}`),
      this.titled(
        "", "L = L", sub("T"), " + λ L", sub("A"),
        ` = ${number(terms.tuplet)} + ${number(this.state.lambda)} · ${number(terms.anchor)} = ${number(terms.total)}`,
      ),
    ];
  }

  // --- numbers over the epochs, scores ---------------------------------------------------------------------------------

  curvesPart() {
    const { say } = this;
    const tiles = [
      ["tuplet", "L", "T", say("nearer to the own anchor than to others")],
      ["anchor", "L", "A", say("distance to the own anchor")],
      ["total", "L", "", say("the loss")],
      ["accuracy", say("accuracy"), "", say("held-out knowns named right")],
      ["spread", say("spread"), "", say("mean distance to the class mean")],
      ["auroc", "AUROC", "", say("unknowns score higher; 50 % is chance")],
    ].map(([name, title, sub, meaning]) => {
      const sheet = new Sheet({ "aria-hidden": "true" });
      const value = make("dd", { class: "big" });
      const line = ["tuplet", "anchor", "total"].includes(name) ? sheet.canvas : "";
      const tile = make(
        "div", { class: "tile" }, make("dt", {}, title, sub ? make("sub", {}, sub) : ""), value, line,
        make("dd", { class: "note" }, meaning),
      );
      this.follow((found) => {
        const terms = this.course.terms[found.epoch];
        tile.hidden = (["tuplet", "anchor"].includes(name) && this.state.method !== "cac") || (name === "auroc" && !found.unknown.length);
        if (tile.hidden) return;
        const shown = { accuracy: percent(found.accuracy), auroc: percent(found.auroc), spread: number(found.spread) };
        write(value, shown[name] ?? number(terms[name]));
        if (!line || !this.palette) return;
        sheet.fit(Math.max(tile.clientWidth - 30, 60), 40);
        drawLine(sheet, this.course.terms.map((one) => one[name]), found.epoch, this.palette);
      });
      return tile;
    });
    return this.part(say("Numbers, epoch by epoch"), make("dl", { class: "numbers" }, ...tiles));
  }

  scoresPart() {
    const sheet = (this.sheets.scores = new Sheet({
      role: "img",
      "aria-label": this.say("Histogram of the scores: known above, unknown below the line"),
    }));
    const title = make("h3", {});
    this.follow((found) => write(title, found.scorer === "gamma" ? this.say("Scores γ, held-out knowns above, unknowns below") : this.say("Scores 1 − p, held-out knowns above, unknowns below")));
    return make("section", { class: "part scores" }, title, make("div", { class: "stage" }, sheet.canvas));
  }

  sentence() {
    const { say } = this;
    const found = this.course.at(this.epoch, this.state.kept);
    if (this.course.empty) return "";
    const names = { epoch: this.epoch, accuracy: percent(found.accuracy), kept: percent(found.kept) };
    const words = say("After epoch {epoch}, {accuracy} of the held-out knowns are named right; θ keeps {kept} of them.", names);
    if (!found.unknown.length) return words;
    return `${words} ${say("Of the unknowns it rejects {caught}.", { caught: percent(found.caught) })}`;
  }

  // --- handing out -----------------------------------------------------------------------------------------------------

  /** A link to this very state, with controls left out: an exercise for others. */
  exercise() {
    const { say } = this;
    const names = {
      data: say("data"), method: say("method"), unknown: say("unknown"), alpha: "α", lambda: "λ", rate: say("learning rate"),
      noise: say("noise"), width: say("neurons"), seed: say("seed"), kept: say("knowns kept"), epoch: say("epoch slider"),
      draw: say("drawing"), play: say("Play"), share: say("this box"),
    };
    const hidden = new Set();
    const field = make("input", { type: "text", readonly: true, "aria-label": say("Link to the exercise"), click: () => field.select() });
    const copied = make("span", { role: "status", class: "note" });
    const show = () => (field.value = addressOf(window.location.href, { ...this.state, epoch: this.epoch }, this.usual, [...hidden]));
    const boxes = Object.entries(names).map(([name, words]) => {
      const box = make("input", {
        type: "checkbox",
        change: () => (box.checked ? hidden.add(name) : hidden.delete(name), show()),
      });
      return make("label", { class: "box" }, box, words);
    });
    const copy = make(
      "button",
      {
        type: "button", class: "chip",
        click: async () => {
          show();
          field.select();
          try {
            await navigator.clipboard.writeText(field.value);
            write(copied, say("Copied."));
          } catch {
            write(copied, say("Press Ctrl+C to copy it."));
          }
        },
      },
      say("Copy the link"),
    );
    return make(
      "details",
      { class: "exercise", toggle: show },
      make("summary", {}, say("Hand out as an exercise")),
      make("p", { class: "note" }, say("The link opens the lab exactly as it is now. Tick what your students shall not be able to change:")),
      make("div", { class: "boxes" }, ...boxes),
      make("div", { class: "controls" }, field, copy, copied),
    );
  }

  // --- drawing ---------------------------------------------------------------------------------------------------------

  draw() {
    if (!this.palette) this.takeTheme();
    const { say } = this;
    const found = this.course.at(this.epoch, this.state.kept);
    let words = "";
    if (this.course.empty) words = say("Each of the three classes needs some points before there is anything to train. Draw some.");
    else if (this.course.stuck(found)) {
      words = say("It has learned next to nothing: the steps may be too large. Try a smaller learning rate, a smaller α or λ, or another seed.");
    }
    this.warning.hidden = !words;
    write(this.warning, words);
    const chosen = this.course.empty ? null : this.chosen(found);
    const { palette } = this;
    const sizeOf = (sheet, most) => Math.max(Math.min(sheet.canvas.parentElement.clientWidth, most), 120);
    const { plane, solid, scores } = this.sheets;
    for (const sheet of Object.values(this.sheets)) Object.assign(sheet, { font: this.font, ground: palette.surface });
    if (plane) {
      const side = sizeOf(plane, this.height);
      plane.fit(side, side);
      if (this.course.empty) this.emptyPlane(plane);
      else this.plane.draw(plane, this.course, found, palette, chosen);
      if (this.state.unknown === "blob" && this.allows("draw")) this.handle(plane);
    }
    if (solid) {
      const side = sizeOf(solid, this.height);
      solid.fit(side, side);
      if (!this.course.empty) this.solid.draw(solid, this.course, found, palette, chosen, this.course.data.names);
    }
    if (this.formula) this.course.empty ? this.formula.replaceChildren() : this.fill(found, chosen);
    if (scores) {
      scores.fit(sizeOf(scores, 900), 190);
      if (!this.course.empty) drawScores(scores, found, palette, say, chosen);
    }
    for (const update of this.updates) update(found);
    write(this.said, this.sentence());
  }

  emptyPlane(sheet) {
    const { x, labels } = this.course.data;
    for (let i = 0; i < labels.length; i++) {
      const [px, py] = this.plane.toPage(x[2 * i], x[2 * i + 1], sheet.width);
      sheet.sign(signFor(labels[i], true, this.palette), px, py, 3.5);
    }
  }

  /** The unknown blob can be taken by its middle. */
  handle(sheet) {
    const [x, y] = this.plane.toPage(...this.state.at, sheet.width);
    sheet.chosen(x, y, this.palette.unknown);
    sheet.text(this.say("drag me"), x, Math.max(y - 20, 10), this.palette.text, "center", 600, 12);
  }
}

/** A drawing as 64 letters 0 to f: cut to its ink, as large as the digits are, in eight by eight pixels. */
function fitted(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[4 * (y * width + x)] > 127) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return "";
  const tall = Math.max(bottom - top + 1, (right - left + 1) * 1.0);
  const scale = SIDE / tall;
  const ink = new Float64Array(SIDE * SIDE);
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const shade = 1 - data[4 * (y * width + x)] / 255;
      const column = Math.floor((x - (left + right + 1) / 2) * scale + SIDE / 2);
      const row = Math.floor((y - (top + bottom + 1) / 2) * scale + SIDE / 2);
      if (column >= 0 && column < SIDE && row >= 0 && row < SIDE) ink[row * SIDE + column] += shade * scale * scale;
    }
  }
  return Array.from(ink, (value) => Math.round(Math.min(value, 1) * 15).toString(16)).join("");
}

const benches = new WeakMap(); // the lab of each place on the page

/** Called by Streamlit for each message. */
export default function bench(component) {
  const { data, parentElement: place } = component;
  let view = benches.get(place);
  if (!view) {
    const root = make("div", { class: "live bench" });
    for (const former of place.querySelectorAll(".live")) former.remove();
    place.append(make("style", {}, STYLE), root);
    view = new Bench(root);
    benches.set(place, view);
  }
  view.receive(component);
  return () => setTimeout(() => place.isConnected || (view.close(), benches.delete(place)));
}
