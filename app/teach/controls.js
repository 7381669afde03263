// The lab's controls: what is learned and by which method, the player, and the settings.

const SETTINGS = {
  alpha: [1, 2, 5, 10, 20, 50],
  lambda: [0, 0.01, 0.03, 0.1, 0.3, 1, 3],
  rate: [0.001, 0.003, 0.01, 0.03, 0.1],
  noise: Array.from({ length: 21 }, (_, n) => n / 20),
  width: [4, 8, 16, 32, 64],
  kept: [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 1],
};
const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

// --- what is learned -------------------------------------------------------------------------------------------------

function choicesOf(bench) {
  const { say } = bench;
  const names = {
    none: say("none"), blob: say("a blob"), ring: say("a ring, far out"), noise: say("noise"),
    digit: say("another digit"), drawing: say("what you draw"),
  };
  const data = [
    ["blobs", say("three blobs")],
    ["moons", say("three moons")],
    ["spirals", say("three spirals")],
    ["drawn", say("your own points")],
    ...(bench.digits ? [["digits", say("three digits")]] : []),
  ];
  const kinds = () => UNKNOWNS[bench.state.data === "digits" ? "digits" : "plane"];
  const strangers = () => {
    if (bench.state.data !== "digits" || bench.state.unknown !== "digit") return [];
    return DIGITS.filter((digit) => !bench.state.classes.includes(digit)).map((digit) => [digit, String(digit)]);
  };
  return boxOf(
    "div",
    { class: "controls top" },
    chooser(bench, "data", say("Data"), () => data),
    bench.allows("classes") ? digitChips(bench) : "",
    bench.allows("method") ? methodTabs(bench) : "",
    chooser(bench, "unknown", say("Unknown"), () => kinds().map((kind) => [kind, names[kind]])),
    chooser(bench, "stranger", say("Digit"), strangers),
  );
}

/** A choice among [value, words] that can become others; it is there while there is something to choose. */
function chooser(bench, name, label, options) {
  if (!bench.allows(name)) return "";
  const change = () => bench.set({ [name]: options()[select.selectedIndex][0] });
  const select = make("select", { change });
  const node = make("label", { class: "choice" }, make("span", { class: "label" }, label), select);
  let offered = null;
  const draw = () => {
    const now = options();
    node.hidden = !now.length;
    if (offered !== String(now)) select.replaceChildren(...now.map(([, words]) => make("option", {}, words)));
    offered = String(now);
    const at = now.findIndex(([value]) => value === bench.state[name]);
    if (select.selectedIndex !== at) select.selectedIndex = at;
  };
  return { node, draw };
}

function methodTabs(bench) {
  const methods = [["cac", "CAC"], ["softmax", "softmax"]];
  const tabs = methods.map(([method, words]) =>
    make("button", { type: "button", role: "radio", click: () => bench.set({ method }) }, words),
  );
  const keydown = (event) => {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const next = (tabs.indexOf(event.target) + (way[0] || -way[1]) + tabs.length) % tabs.length;
    tabs[next].focus();
    bench.set({ method: methods[next][0] });
  };
  const draw = () =>
    tabs.forEach((tab, n) => {
      const chosen = methods[n][0] === bench.state.method;
      attribute(tab, "aria-checked", chosen);
      attribute(tab, "tabindex", chosen ? 0 : -1);
    });
  const attributes = { class: "tabs", role: "radiogroup", "aria-label": bench.say("Method"), keydown };
  return { node: make("div", attributes, ...tabs), draw };
}

/** Ten digits, three of which are known: a press takes the place of the one that was chosen first. */
function digitChips(bench) {
  const { say } = bench;
  const chips = DIGITS.map((digit) => {
    const click = () => {
      const { classes } = bench.state;
      if (!classes.includes(digit)) bench.set({ classes: [...classes.slice(1), digit] });
    };
    const node = make("button", { type: "button", class: "chip digit", click }, String(digit));
    return { node, draw: () => attribute(node, "aria-pressed", bench.state.classes.includes(digit)) };
  });
  const attributes = { class: "choice sets", role: "group", "aria-label": say("Known digits") };
  const { node, draw } = boxOf("div", attributes, make("span", { class: "label" }, say("Known")), ...chips);
  return {
    node,
    draw() {
      node.hidden = bench.state.data !== "digits";
      draw();
    },
  };
}

// --- the player ------------------------------------------------------------------------------------------------------

function playerOf(bench) {
  const { say } = bench;
  if (!bench.allows("play")) return { node: "", draw() {} };
  const button = (words, click, extra = "") => make("button", { type: "button", class: `chip ${extra}`, click }, words);
  const play = button("", () => (bench.playing ? bench.pause() : bench.play()), "play primary");
  const step = button(say("Step"), () => bench.go(bench.epoch + 1));
  const again = button(say("Restart"), () => bench.go(0));
  const slider = make("input", {
    type: "range", min: 0, step: 1, "aria-label": say("Epoch"), input: () => bench.go(Number(slider.value)),
  });
  const value = make("output", { class: "value" });
  const range = bench.allows("epoch") ? make("label", { class: "range epochs" }, slider, value) : "";
  const draw = () => {
    const { epoch, course } = bench;
    const goal = bench.state.epoch;
    const now = say("epoch {epoch}", { epoch });
    write(play, bench.playing ? say("Pause") : say("Play"));
    play.disabled = course.empty;
    step.disabled = course.empty || epoch >= MOST_EPOCHS;
    attribute(slider, "max", Math.max(LEG, Math.ceil(Math.max(course.trained, goal) / LEG) * LEG));
    if (Number(slider.value) !== goal) slider.value = goal; // a thumb that is held stays where the finger is
    attribute(slider, "aria-valuetext", now);
    write(value, goal > course.trained ? say("epoch {epoch} of {goal}…", { epoch, goal }) : now);
  };
  return { node: make("div", { class: "controls player" }, play, step, again, range), draw };
}

// --- the settings ----------------------------------------------------------------------------------------------------

function settingsOf(bench) {
  const { say } = bench;
  const labels = {
    alpha: ["α", say("length of the anchors")],
    lambda: ["λ", say("weight of the anchor term")],
    rate: [say("learning rate"), ""],
    noise: [say("noise"), ""],
    width: [say("neurons a layer"), ""],
    kept: [say("knowns kept"), say("θ follows from it")],
  };
  return boxOf(
    "div",
    { class: "controls settings" },
    ...Object.entries(labels).map(([name, said]) => (bench.allows(name) ? setting(bench, name, ...said) : "")),
    bench.allows("seed") ? seedOf(bench) : "",
  );
}

function setting(bench, name, label, meaning) {
  const usual = SETTINGS[name];
  const given = bench.state[name];
  const values = usual.includes(given) ? usual : [...usual, given].sort((a, b) => a - b);
  const shown = (x) => (name === "kept" ? `${Math.round(100 * x)} %` : String(Number(x.toPrecision(3))));
  const value = make("output", { class: "value" });
  const tell = () => {
    write(value, shown(values[slider.value]));
    attribute(slider, "aria-valuetext", value.textContent);
  };
  const set = () => bench.set({ [name]: values[slider.value] });
  const slider = make("input", {
    type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": meaning ? `${label}, ${meaning}` : label,
    input() {
      tell();
      if (name === "kept") set(); // nothing to train anew: it follows the finger
    },
    change: set,
  });
  slider.value = values.indexOf(given);
  tell();
  const words = make("span", { class: "label" }, label);
  const node = make("label", { class: "range setting", title: meaning }, words, slider, value);
  const draw = () => {
    const { method, data } = bench.state;
    node.hidden = name === "noise" ? data === "drawn" : ["alpha", "lambda"].includes(name) && method === "softmax";
  };
  return { node, draw };
}

function seedOf(bench) {
  const change = () => {
    const asked = whole(0, 999999)(input.value);
    if (asked === undefined) input.value = bench.state.seed;
    else bench.set({ seed: asked });
  };
  const input = make("input", { type: "number", min: 0, max: 999999, step: 1, change });
  input.value = bench.state.seed;
  return make("label", { class: "range setting" }, make("span", { class: "label" }, bench.say("seed")), input);
}
