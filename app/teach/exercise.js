// The box to hand the lab out: a link to this very state, with controls left out, as an exercise for others.

function exerciseOf(bench) {
  const { say } = bench;
  const names = {
    data: say("data"), method: say("method"), unknown: say("unknown"), alpha: "α", lambda: "λ",
    rate: say("learning rate"), noise: say("noise"), width: say("neurons"), seed: say("seed"), kept: say("knowns kept"),
    epoch: say("epoch slider"), draw: say("drawing"), play: say("Play"), share: say("this box"),
  };
  const hidden = new Set(hiddenIn(window.location.search));
  const field = make("input", {
    type: "text", readonly: true, "aria-label": say("Link to the exercise"), click: () => field.select(),
  });
  const copied = make("span", { role: "status", class: "note" });
  const draw = () => {
    if (!node.open) return;
    const link = addressOf(window.location.href, bench.state, bench.usual, [...hidden]);
    if (field.value === link) return;
    field.value = link;
    write(copied, "");
  };
  const boxes = Object.entries(names).map(([name, words]) => {
    const change = () => {
      if (box.checked) hidden.add(name);
      else hidden.delete(name);
      draw();
    };
    const box = make("input", { type: "checkbox", change });
    box.checked = hidden.has(name);
    return make("label", { class: "box" }, box, words);
  });
  const click = async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      write(copied, say("Copied."));
    } catch {
      write(copied, say("Press Ctrl+C to copy it."));
    }
  };
  const copy = make("button", { type: "button", class: "chip", click }, say("Copy the link"));
  const node = make(
    "details",
    { class: "exercise", toggle: draw },
    make("summary", {}, say("Hand out as an exercise")),
    make("p", { class: "note" },
      say("The link opens the lab exactly as it is now. Tick what your students shall not be able to change:")),
    make("div", { class: "boxes" }, ...boxes),
    make("div", { class: "controls" }, field, copy, copied),
  );
  return { node, draw };
}
