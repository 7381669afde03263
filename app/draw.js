// The paper of draw.py: strokes are kept here, drawn here, and sent as one small picture.

const SIDE = 280; // of the paper and of the picture, in the units of the strokes
const PAUSE = 400; // milliseconds between two pictures, at least
const PATIENCE = 5000; // after which a picture that nobody answered is taken for lost
const STEP = 8; // of an arrow key; with Shift a quarter of it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// by key; outlives the paper, which goes with its page, but not the browser's
const kept = (window.anchorscopeDrawings ??= new Map());
const papers = new WeakMap();

/** One stroke through the middles between its points, which makes it smooth; a single point is a dot. */
function trace(context, { width, points }) {
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(...points[0]);
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i];
    context.quadraticCurveTo(x, y, (x + points[i + 1][0]) / 2, (y + points[i + 1][1]) / 2);
  }
  const [x, y] = points.at(-1);
  context.lineTo(x + 0.01, y); // a line of no length at all is not drawn
  context.stroke();
}

/** All strokes, dark on white, on a canvas of any resolution. */
function paint(canvas, strokes) {
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / SIDE, 0, 0, canvas.height / SIDE, 0, 0);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  context.strokeStyle = "#111";
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) trace(context, stroke);
  return context;
}

class Paper {
  constructor(place, key) {
    this.place = place;
    this.find = (name) => place.querySelector(name);
    this.canvas = this.find("canvas");
    this.memory = kept.get(key) ?? { strokes: [], number: 0, width: 20 };
    kept.set(key, this.memory);
    this.pointer = null; // the pointer that draws
    this.pen = null; // where the pen of the keys is, and whether it is down
    this.sentAt = -Infinity;
    this.waits = false;
    this.find("input").value = this.memory.width;
    this.listen();
    new ResizeObserver(() => this.show()).observe(this.canvas);
  }

  /** Called for each message: the words, and the number of the last drawing that Python has heard of. */
  receive({ data, setStateValue }) {
    const { words, heard } = data;
    this.words = words;
    this.send = (drawing) => setStateValue("drawing", drawing);
    this.canvas.setAttribute("aria-label", words.paper);
    this.find(".undo").textContent = words.undo;
    this.find(".clear").textContent = words.clear;
    this.find("label span").textContent = words.pen;
    if (heard === this.memory.number) this.waits = false;
    // a page that was left has forgotten what is still on the paper here
    else if (!this.waits && this.memory.strokes.length) this.changed();
    this.offer();
    this.show();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || this.pointer !== null) return;
      this.pointer = event.pointerId;
      this.pen = null;
      canvas.setPointerCapture(event.pointerId);
      this.begin(this.at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      const passed = event.getCoalescedEvents?.() ?? [];
      this.go((passed.length ? passed : [event]).map((one) => this.at(one)));
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => event.pointerId === this.pointer && (this.pointer = null));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => ((this.pen = null), this.show()));
    this.find(".undo").onclick = () => this.undo();
    this.find(".clear").onclick = () => this.clear();
    this.find("input").oninput = (event) => ((this.memory.width = Number(event.target.value)), this.show());
  }

  /** Where on the paper, in the units of the strokes; a pointer that has left it draws along its edge. */
  at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    const within = (value) => Math.round(10 * Math.min(Math.max(value, 0), SIDE)) / 10;
    return [within(((clientX - box.left) / box.width) * SIDE), within(((clientY - box.top) / box.height) * SIDE)];
  }

  // --- what changes the drawing ---

  begin(point) {
    this.memory.strokes.push({ width: this.memory.width, points: [point] });
    this.changed();
  }

  go(points) {
    this.memory.strokes.at(-1)?.points.push(...points);
    this.changed();
  }

  undo() {
    if (this.memory.strokes.pop()) this.changed();
    this.lift();
  }

  clear() {
    if (this.memory.strokes.splice(0).length) this.changed();
    this.lift();
  }

  /** Whatever draws begins a new stroke. */
  lift() {
    this.pointer = null;
    if (this.pen) this.pen.down = false;
    this.show();
  }

  /** Arrow keys move a pen, Space puts it down and lifts it, Ctrl+Z undoes. */
  key(event) {
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z") this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey || !(key === " " || key in ARROWS)) return;
    else {
      this.pen ??= { x: SIDE / 2, y: SIDE / 2, down: false };
      const { pen } = this;
      if (key === " ") {
        pen.down = !pen.down;
        if (pen.down) this.begin([pen.x, pen.y]);
        this.find("p").textContent = pen.down ? this.words.down : this.words.up;
      } else {
        const step = event.shiftKey ? STEP / 4 : STEP;
        pen.x = Math.min(Math.max(pen.x + ARROWS[key][0] * step, 0), SIDE);
        pen.y = Math.min(Math.max(pen.y + ARROWS[key][1] * step, 0), SIDE);
        if (pen.down) this.go([[pen.x, pen.y]]);
      }
      this.show();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // --- to the eye, and to Python ---

  show() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const { canvas, memory } = this;
      const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
      if (!side) return;
      if (canvas.width !== side) canvas.width = canvas.height = side;
      const context = paint(canvas, memory.strokes);
      if (this.pen) this.ring(context);
      this.find(".undo").disabled = this.find(".clear").disabled = !memory.strokes.length;
    });
  }

  /** The pen of the keys: filled while it is down. */
  ring(context) {
    context.beginPath();
    context.arc(this.pen.x, this.pen.y, this.memory.width / 2 + 3, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = context.fillStyle = "#0B63A5";
    context.stroke();
    if (this.pen.down) context.fill();
  }

  changed() {
    this.news = true;
    this.show();
    this.offer();
  }

  /** Sends what is new, if the last picture has been answered and is old enough; else tries again then. */
  offer() {
    clearTimeout(this.timer);
    if (!this.news || !this.place.isConnected) return;
    const due = this.sentAt + (this.waits ? PATIENCE : PAUSE) - performance.now();
    if (due > 0) {
      this.timer = setTimeout(() => this.offer(), due);
      return;
    }
    const { memory } = this;
    const picture = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    if (memory.strokes.length) paint(picture, memory.strokes);
    Object.assign(this, { news: false, waits: true, sentAt: performance.now() });
    memory.number += 1;
    const png = memory.strokes.length ? picture.toDataURL("image/png").split(",")[1] : "";
    this.send({ number: memory.number, png });
  }
}

export default function draw(component) {
  const { data, parentElement: place } = component;
  if (!papers.has(place)) papers.set(place, new Paper(place, data.key));
  papers.get(place).receive(component);
  if (place.host) place.host.dataset.drawn = ""; // first.css
}
