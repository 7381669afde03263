// Colours, words, and the small parts that both views are made of.

/** An element: attributes by name, listeners as functions, children as nodes or text. Text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "rect", "line", "text", "g", "defs", "pattern", "circle"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** How many times as large as usual text is, on a projector or where a browser is told so. */
function textScale() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

/** How many pixels what stands here reaches beyond the window, less the page's edge; below 0 where there is room. */
function beyondWindow(node) {
  const scrolled = node.getRootNode().host?.closest("[data-testid=stMain]")?.scrollTop ?? 0;
  return Math.ceil(node.getBoundingClientRect().bottom + scrolled + 8 * textScale() + 8 - window.innerHeight);
}

/** Says that what is drawn into this place has its height now; until then what stands below it waits (first.css). */
function stands(node) {
  const { host } = node.getRootNode();
  if (host) host.dataset.drawn = "";
}

/** Sets text only where it is another one, so that nothing is laid out anew for nothing. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function attribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** The phrase in the page's language, {name} replaced by values. */
function speaker(words) {
  return (phrase, values = {}) =>
    (words?.[phrase] ?? phrase).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

// --- colours ---------------------------------------------------------------------------------------------------------

/** Red, green, blue of any colour that CSS knows. */
function rgbOf(colour) {
  const context = (rgbOf.context ??= Object.assign(document.createElement("canvas"), {
    width: 1,
    height: 1,
  }).getContext("2d", { willReadFrequently: true }));
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

/** The page's palette for its present background, put where the style sheet finds it. */
function paletteFor(root, palettes) {
  const style = getComputedStyle(root);
  const background = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
  const [r, g, b] = rgbOf(background);
  const dark = 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  const palette = palettes[dark ? "dark" : "light"];
  root.classList.toggle("dark", dark);
  palette.known.forEach((colour, n) => root.style.setProperty(`--known-${n}`, colour));
  for (const name of ["unknown", "text", "faint", "surface", "strong"]) {
    root.style.setProperty(`--${name}`, palette[name]);
  }
  return { ...palette, surface: background, of: (label) => palette.known[label % palette.known.length] };
}

// --- signs: a class is a colour and a shape, filled where accepted and hollow where rejected -------------------------

const SHAPES = ["circle", "triangle", "square", "diamond"];
const shapeOf = (label, palette) => SHAPES[Math.floor(label / palette.known.length) % SHAPES.length];

/** The outline of a shape about (0, 0) with this radius, as a path for SVG and canvas alike. */
function outline(shape, r) {
  const corners = {
    triangle: [
      [0, -1.15],
      [1.05, 0.75],
      [-1.05, 0.75],
    ],
    square: [
      [-0.88, -0.88],
      [0.88, -0.88],
      [0.88, 0.88],
      [-0.88, 0.88],
    ],
    diamond: [
      [0, -1.2],
      [1.2, 0],
      [0, 1.2],
      [-1.2, 0],
    ],
    star: Array.from({ length: 10 }, (_, n) => {
      const far = n % 2 ? 0.45 : 1.1;
      return [far * Math.sin((Math.PI * n) / 5), -far * Math.cos((Math.PI * n) / 5)];
    }),
  }[shape];
  if (corners) return `M${corners.map(([x, y]) => `${x * r},${y * r}`).join("L")}Z`;
  if (shape === "cross") return `M${-r},${-r}L${r},${r}M${-r},${r}L${r},${-r}`;
  return `M${-r},0A${r},${r},0,1,1,${r},0A${r},${r},0,1,1,${-r},0Z`;
}

/** How one image is drawn: {shape, ring, hollow, colour}. */
function signOf(label, accepted, palette) {
  if (label < 0) return { shape: "cross", ring: accepted, hollow: true, colour: palette.unknown };
  return { shape: shapeOf(label, palette), ring: false, hollow: !accepted, colour: palette.of(label) };
}

/** A sign as a small picture for legends and tiles. */
function signPicture(sign, size = 16) {
  const r = sign.ring ? size * 0.2 : size * 0.3;
  return make(
    "svg",
    {
      class: "sign",
      width: size,
      height: size,
      viewBox: `${-size / 2} ${-size / 2} ${size} ${size}`,
      "aria-hidden": "true",
    },
    make("path", {
      d: outline(sign.shape, r) + (sign.ring ? outline("circle", size * 0.42) : ""),
      fill: sign.hollow ? "none" : sign.colour,
      stroke: sign.colour,
      "stroke-width": sign.shape === "cross" ? 2 : 1.75,
      "stroke-linecap": "round",
    }),
  );
}

// --- small images ----------------------------------------------------------------------------------------------------

/** Draws the small image of a row, so many pixels wide; false where there is none. Calls `again` once it is read. */
function drawSprite(canvas, feed, row, side, again) {
  const scale = window.devicePixelRatio || 1;
  const pixels = Math.round(side * scale);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  canvas.style.width = canvas.style.height = `${side}px`;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, pixels);
  if (!feed.atlas) return false;
  if (!feed.picture) {
    readAtlas(feed).then(again);
    return true;
  }
  const { tile: size, tiles } = feed.header;
  context.imageSmoothingEnabled = size * 2 > pixels;
  context.drawImage(
    feed.picture,
    (row % tiles) * size,
    Math.floor(row / tiles) * size,
    size,
    size,
    0,
    0,
    pixels,
    pixels,
  );
  return true;
}

function readAtlas(feed) {
  feed.reading ??= createImageBitmap(new Blob([feed.atlas])).then(
    (picture) => (feed.picture = picture),
    () => (feed.atlas = null), // an atlas that is no picture: the views do without
  );
  return feed.reading;
}
