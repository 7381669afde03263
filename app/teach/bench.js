// The anchor lab: a network that is trained while one watches. It trains here, in the page; the address says with what.

const PACE = 15; // epochs a second while it plays
const CATCH_UP = 25; // milliseconds of a frame that go into training where it has to get somewhere
const LEG = 100; // epochs that Play goes on for
const last = {}; // the state of each lab that the address tells of, for when one comes back to its page

class Bench {
  constructor(root) {
    this.root = root;
    this.probe = { row: 0 }; // what is spoken of: {row}, {x} for a place where no point is, or null
    this.playing = false;
    let wide = 0;
    this.watcher = new ResizeObserver(() => {
      if (root.clientWidth !== wide && this.bare) this.height = window.innerHeight;
      if (root.clientWidth !== wide) this.ask(); // the height follows from what is drawn
      wide = root.clientWidth;
    });
    this.watcher.observe(root);
    this.themes = new MutationObserver(() => this.changeTheme());
    for (const node of [document.documentElement, document.body]) {
      this.themes.observe(node, { attributes: true, attributeFilter: ["style", "class"] });
    }
  }

  close() {
    this.keep();
    this.closed = true;
    this.watcher.disconnect();
    this.themes.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.speaking);
    clearTimeout(this.writing);
  }

  /** A message from Python. The same preset again changes nothing. */
  receive({ data }) {
    const { key, preset, show, hide, link, height, digits, words, palettes, bare } = data;
    Object.assign(this, { key, show, link, digits, palettes, bare });
    const room = bare ? window.innerHeight : height; // on a projector what the window has is found out
    if (this.wanted !== room) this.wanted = this.height = room;
    this.root.classList.toggle("bare", bare);
    this.say = speaker(words);
    const said = JSON.stringify([preset, show, hide, link, height, words]);
    if (said !== this.heard) {
      this.heard = said;
      this.usual = settled({ ...STATE, ...preset });
      const asked = link ? stateFrom(window.location.search) : {};
      const before = link && !Object.keys(asked).length ? last[key] : null;
      this.hide = [...hide, ...(link ? hiddenIn(window.location.search) : [])];
      this.playing = false;
      this.begin(settled({ ...this.usual, ...(before ?? asked) }));
      this.build();
      if (preset.play && !before) this.play();
    }
    this.changeTheme();
    if (!this.root.clientWidth) stands(this.root); // in a closed box it is drawn once that opens
  }

  // --- what is trained ----------------------------------------------------------------------------------------------

  /** A new course for a state; it is trained to the epoch that the state names, as fast as the page allows. */
  begin(state) {
    this.state = state;
    this.course = new Course(state, this.digits);
    this.epoch = 0;
  }

  /** Something was set: the course begins anew, and plays anew where it plays, or only what is looked at changes. */
  set(changes) {
    const state = settled({ ...this.state, ...changes });
    if (courseKey(state) === courseKey(this.state)) {
      this.state = state;
      this.course.meet(state, this.digits);
    } else {
      this.begin({ ...state, epoch: this.playing ? 0 : state.epoch });
      if (this.playing) this.play();
    }
    this.ask();
    this.note();
  }

  /** Plays to the next full hundred; from the beginning where all epochs are over. */
  play() {
    if (this.epoch >= MOST_EPOCHS) this.go(0);
    this.playing = !this.course.empty;
    this.end = Math.min((Math.floor(this.state.epoch / LEG) + 1) * LEG, MOST_EPOCHS);
    this.since = performance.now();
    this.ask();
  }

  pause() {
    this.go(this.epoch);
  }

  go(epoch) {
    this.playing = false;
    this.state.epoch = Math.min(Math.max(epoch, 0), MOST_EPOCHS);
    this.epoch = Math.min(this.state.epoch, this.course.trained);
    this.ask();
    this.note();
  }

  /** At each frame: trains what is due. */
  tick() {
    const { course, state } = this;
    if (course.empty) {
      this.playing = false;
      state.epoch = this.epoch;
    } else if (state.epoch > course.trained) {
      const until = performance.now() + CATCH_UP;
      while (course.trained < state.epoch && performance.now() < until) course.train();
      this.epoch = course.trained;
      this.due = true;
    } else if (this.playing && performance.now() - this.since >= 1000 / PACE - 4) {
      this.since = performance.now();
      if (this.epoch === course.trained) course.train();
      state.epoch = this.epoch += 1;
      this.due = true;
      if (this.epoch >= this.end) this.pause();
    }
  }

  // --- when it is drawn ---------------------------------------------------------------------------------------------

  ask() {
    this.due = true;
    this.wake();
  }

  wake() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.closed || !this.heard || !this.root.clientWidth) return;
      this.tick();
      if (this.due) this.draw();
      if (this.playing || this.state.epoch > this.course.trained) this.wake();
    });
  }

  changeTheme() {
    this.palette = null;
    this.ask();
  }

  takeTheme() {
    const palette = paletteFor(this.root, this.palettes);
    const quiet = `color-mix(in srgb, ${palette.text} 55%, ${palette.surface})`;
    this.palette = { ...palette, quiet, dark: this.root.classList.contains("dark") };
    this.font = getComputedStyle(this.root).fontFamily;
  }

  draw() {
    this.due = false;
    if (!this.palette) this.takeTheme();
    const found = this.course.at(this.epoch, this.state.kept);
    const chosen = this.chosen(found);
    const warning = this.warning(found);
    this.warned.hidden = !warning;
    write(this.warned, warning);
    write(this.said, this.sentence(found));
    this.takePicture();
    this.em = textScale();
    for (const part of this.parts) part.draw(found, chosen);
    if (this.bare && this.tooHigh()) return;
    stands(this.root);
  }

  /** On a projector nothing is scrolled: whether the pictures were too high, and are drawn anew, less high. */
  tooHigh() {
    const least = 120 * this.em;
    const beyond = beyondWindow(this.root);
    if (beyond <= 0 || this.height <= least) return false;
    const heights = [...this.pictures.querySelectorAll(".stage > canvas")].map((one) => one.clientHeight);
    const now = Math.min(this.height, Math.max(...heights, least));
    this.height = Math.max(now - beyond, least);
    this.ask();
    return true;
  }

  /** The point that is spoken of: row (-1 for a free place), x, z, truth (-1 without one), score, nearest class. */
  chosen(found) {
    const { data, empty } = this.course;
    const row = this.probe?.row ?? -1;
    if (!this.probe || empty || row >= data.labels.length || (row < 0 && !data.plane)) return null;
    const x = row >= 0 ? data.x.slice(row * data.inputs, (row + 1) * data.inputs) : this.probe.x;
    const z = this.course.logitsAt(found.epoch, x);
    const { score, label } = verdictOf(found.scorer, z, WIDTH, () => found.centres, 1);
    return { row, x, z, truth: row >= 0 ? data.labels[row] : -1, score: score[0], nearest: label[0] };
  }

  // --- what is said -------------------------------------------------------------------------------------------------

  speakOf(probe) {
    this.probe = probe;
    this.ask();
    this.note(() => this.pointSentence());
  }

  /** Once things are quiet: the state goes into the address, and a sentence to where it is read aloud. */
  note(words = () => this.sentence(this.course.at(this.epoch, this.state.kept))) {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      this.keep();
      if (!this.link) return;
      const href = addressOf(window.location.href, this.state, this.usual, hiddenIn(window.location.search));
      if (href !== window.location.href) window.history.replaceState(window.history.state, "", href);
    }, 250);
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => write(this.voice, words()), 900);
  }

  keep() {
    if (this.link) last[this.key] = { ...this.state };
  }

  warning(found) {
    const { say, course } = this;
    if (course.empty) {
      return say("Each of the three classes needs some points before there is anything to train. Draw some.");
    }
    if (!course.stuck(found)) return "";
    return say(
      "It has learned next to nothing: the steps may be too large. Try a smaller learning rate, a smaller α or λ, or another seed.",
    );
  }

  sentence(found) {
    const { say } = this;
    if (this.course.empty) return "";
    const names = { epoch: this.epoch, accuracy: percent(found.accuracy), kept: percent(found.kept) };
    const words = say(
      "After epoch {epoch}, {accuracy} of the held-out knowns are named right; θ keeps {kept} of them.",
      names,
    );
    if (!found.unknown.length) return words;
    return `${words} ${say("Of the unknowns it rejects {caught}.", { caught: percent(found.caught) })}`;
  }

  pointSentence() {
    const found = this.course.at(this.epoch, this.state.kept);
    const chosen = this.chosen(found);
    return chosen ? `${truthOf(this, chosen)}: ${verdictWords(this, found, chosen)}` : "";
  }

  // --- the parts ----------------------------------------------------------------------------------------------------

  shows(name) {
    return this.show.includes(name);
  }

  allows(name) {
    return !this.hide.includes(name);
  }

  build() {
    this.voice = make("div", { class: "unseen", role: "status" });
    this.said = make("p", { class: "said" });
    this.warned = make("p", { class: "warning", role: "alert", hidden: true });
    this.picture = null;
    this.pictures = make("div", { class: "pictures" });
    const [top, player, settings] = [choicesOf(this), playerOf(this), settingsOf(this)];
    const pictures = [
      ...(this.shows("logits") ? [new Solid(this)] : []),
      ...(this.shows("loss") ? [new Formulas(this)] : []),
    ];
    const lower = [
      ...(this.shows("curves") ? [numbersOf(this)] : []),
      ...(this.shows("scores") ? [new Scores(this)] : []),
    ];
    const box = this.link && this.allows("share") ? [exerciseOf(this)] : [];
    this.parts = [top, player, ...pictures, ...lower, settings, ...box];
    this.pictures.append(...pictures.map(({ node }) => node));
    this.root.replaceChildren(
      this.voice,
      top.node,
      player.node,
      this.warned,
      this.said,
      this.pictures,
      make("div", { class: "lower" }, ...lower.map(({ node }) => node)),
      settings.node,
      ...box.map(({ node }) => node),
    );
    this.ask();
  }

  /** The picture of the inputs is another one for digits than for points of a plane. */
  takePicture() {
    if (!this.shows("input") || this.picture?.fits(this.course.data)) return;
    const picture = new (this.course.data.plane ? Plane : Gallery)(this);
    if (this.picture) this.picture.node.replaceWith(picture.node);
    else this.pictures.prepend(picture.node);
    this.parts = [picture, ...this.parts.filter((part) => part !== this.picture)];
    this.picture = picture;
  }
}

const benches = new WeakMap(); // the lab of each place on the page

/** Called by Streamlit for each message. */
export default function bench(component) {
  const { parentElement: place } = component;
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
