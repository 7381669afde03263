// Tiles of images: a click opens one, a tick chooses it. One tab stop; the arrow keys go from image to image, and Tab
// goes from an image to its tick.

const places = new WeakMap(); // what is ticked in each place on the page, and which tile has the tab stop

function make(name, of = {}, ...children) {
  const made = Object.assign(document.createElement(name), of);
  made.append(...children);
  return made;
}

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  const list = parentElement.querySelector("ul");
  const fresh = !places.has(parentElement);
  const known = places.get(parentElement) ?? { picked: new Set(), turn: data.turn, at: null };
  places.set(parentElement, known);
  if (known.turn !== data.turn) known.picked.clear();
  known.turn = data.turn;
  const shown = new Set(data.tiles.map((tile) => tile.key));
  for (const key of known.picked) if (!shown.has(key)) known.picked.delete(key);
  if (!shown.has(known.at)) known.at = data.tiles[0]?.key ?? null;
  const focused = parentElement.activeElement ?? parentElement.getRootNode().activeElement;
  const before = list.contains(focused) ? { key: focused.closest("li").dataset.key, tick: focused.type === "checkbox" }
    : null;

  const tell = () => {
    clearTimeout(known.telling);
    known.telling = setTimeout(() => setStateValue("picked", [...known.picked]), 250); // several ticks, one word
  };
  const stop = (key) => {
    known.at = key;
    for (const one of list.children) {
      const here = one.dataset.key === key ? 0 : -1;
      for (const part of one.querySelectorAll("button, input")) part.tabIndex = here;
    }
  };
  const line = (name, text) => make("span", { className: `line ${name}`, textContent: text, title: text });

  const tileOf = (tile) => {
    const picture = tile.source
      ? make("img", { src: tile.source, alt: "", decoding: "async" })
      : make("span", { className: "none", textContent: data.none });
    if (tile.source) picture.onload = () => picture.classList.toggle("small", picture.naturalWidth < 88);
    const className = tile.wrong.length ? "image odd" : "image";
    const button = make("button", { type: "button", className, ariaLabel: tile.label }, picture,
      line("truth", tile.truth), ...tile.decisions.map((one) => line("", one)), line("quiet", tile.numbers),
      ...tile.wrong.map((one) => line("wrong", one)));
    button.append(...tile.tags.map((tag) => make("span", { className: "tag", textContent: tag, title: tag })));
    button.onclick = () => {
      const url = new URL(window.location);
      url.searchParams.set("images_at", tile.key);
      if (data.here) {
        window.history.pushState(window.history.state, "", url); // so that Back closes the image
        parentElement.host?.closest("[data-testid=stMain]")?.scrollTo(0, 0);
      }
      setTriggerValue("opened", tile.key);
    };
    button.onfocus = () => stop(tile.key);
    const item = make("li", {}, button);
    item.dataset.key = tile.key;
    if (data.picks) {
      const box = make("input", { type: "checkbox", checked: known.picked.has(tile.key) });
      box.setAttribute("aria-label", `${data.tick}: ${tile.label}`);
      const mark = () => button.classList.toggle("picked", box.checked);
      mark();
      box.onfocus = () => stop(tile.key);
      box.onchange = () => {
        known.picked[box.checked ? "add" : "delete"](tile.key);
        mark();
        tell();
      };
      item.append(make("label", {}, box));
    }
    return item;
  };

  list.replaceChildren(...data.tiles.map(tileOf));
  if (parentElement.host) parentElement.host.dataset.drawn = "";
  stop(known.at);
  const find = (key) => [...list.children].find((one) => one.dataset.key === key);
  if (before) find(before.key)?.querySelector(before.tick ? "input" : "button")?.focus();
  else if (fresh && data.last) find(data.last)?.querySelector("button").focus(); // back from that image

  list.onkeydown = (event) => {
    const items = [...list.children];
    const here = items.indexOf(event.target.closest("li"));
    const across = items.filter((one) => one.offsetTop === items[0].offsetTop).length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -here,
      End: items.length - 1 - here };
    const next = items[here + steps[event.key]];
    if (!(event.key in steps) || here < 0) return;
    event.preventDefault();
    next?.querySelector("button").focus();
  };
}
