// What the lab's parts are made of: canvas, signs, boxes. A part is {node, draw(found, chosen)}: `found` is Course.at,
// `chosen` the point that is spoken of.

const CLASS_SHAPES = ["circle", "triangle", "square"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const PI = Math.PI;

/** How a point is drawn: a class is a colour and a shape, filled where accepted; an unknown is a cross. */
function signFor(label, accepted, palette) {
  if (label < 0) return signOf(-1, accepted, palette);
  return { shape: CLASS_SHAPES[label], ring: false, hollow: !accepted, colour: palette.of(label) };
}

const mixed = (colour, ground, share) => {
  const [a, b] = [rgbOf(colour), rgbOf(ground)];
  return a.map((value, n) => Math.round(value * share + b[n] * (1 - share)));
};

/** A canvas that knows its size on the page. It draws with the font and the palette of its lab. */
class Sheet {
  constructor(bench, attributes) {
    this.bench = bench;
    this.canvas = make("canvas", attributes);
    this.context = this.canvas.getContext("2d");
    this.paths = new Map();
  }

  /** Clears it, as wide as its place is and at most `most`; a square where no height is named. */
  fill(most, height = null) {
    const { canvas } = this;
    const width = Math.max(Math.min(canvas.parentElement.clientWidth - 2 * canvas.clientLeft, most), 120);
    this.fit(width, height ?? width);
  }

  fit(width, height) {
    this.width = width;
    this.height = height;
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, width, height);
  }

  /** Where a finger is, from the upper left corner. */
  at({ clientX, clientY }) {
    const place = this.canvas.getBoundingClientRect();
    return [clientX - place.left - this.canvas.clientLeft, clientY - place.top - this.canvas.clientTop];
  }

  path(shape, radius) {
    const key = `${shape} ${radius}`;
    if (!this.paths.has(key)) this.paths.set(key, new Path2D(outline(shape, radius)));
    return this.paths.get(key);
  }

  sign(sign, x, y, radius) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    context.strokeStyle = context.fillStyle = sign.colour;
    context.lineWidth = sign.shape === "cross" ? 1.8 : 1.4;
    context.lineCap = "round";
    const path = this.path(sign.shape, sign.shape === "cross" ? radius * 0.85 : radius);
    if (!sign.hollow) context.fill(path);
    context.stroke(path);
    if (sign.ring) context.stroke(this.path("circle", radius * 1.7));
    context.restore();
  }

  /** A ring about a place that is spoken of. */
  ring(x, y, colour) {
    const { context } = this;
    context.lineWidth = 2.5;
    context.strokeStyle = colour;
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * PI);
    context.stroke();
  }

  /** The point that is spoken of; a free place, where no point is, has a star. */
  spoken({ row }, x, y) {
    const { text } = this.bench.palette;
    if (row < 0) this.sign({ shape: "star", colour: text }, x, y, 6);
    this.ring(x, y, text);
  }

  lines(lines, colour, width, dash = []) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    for (const line of lines) line.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    context.setLineDash([]);
  }

  text(words, x, y, colour, align = "center", weight = 400, size = 13) {
    const { context } = this;
    context.font = `${weight} ${size * this.bench.em}px ${this.bench.font}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = this.bench.palette.surface;
    context.strokeText(words, x, y);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }
}

/** An element of parts, elements and words: drawing it draws each part. */
function boxOf(tag, attributes, ...children) {
  return {
    node: make(tag, attributes, ...children.map((child) => child.node ?? child)),
    draw: (...said) => children.forEach((child) => child.draw?.(...said)),
  };
}

const partOf = (title, ...children) => boxOf("section", { class: "part" }, make("h3", {}, title), ...children);

/** What signs mean: for each its picture by the palette, its words, and whether it is there now. */
function swatches(bench, ...entries) {
  const lines = entries.map(([signBy, words, there = () => true]) => {
    const mark = make("span", { class: "mark" });
    return { node: make("span", { class: "swatch" }, mark, words), mark, signBy, there };
  });
  let drawnIn = null;
  return {
    node: make("div", { class: "swatches" }, ...lines.map(({ node }) => node)),
    draw() {
      for (const { node, there } of lines) node.hidden = !there();
      if (drawnIn === bench.palette) return;
      drawnIn = bench.palette;
      for (const { mark, signBy } of lines) mark.replaceChildren(signPicture(signBy(drawnIn), 15));
    },
  };
}
