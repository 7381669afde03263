// Digits instead of a plane: images that the network was not trained on, and a pad to draw one's own.

const PAD = 144; // the pad's side, in pixels

class Gallery {
  constructor(bench) {
    this.bench = bench;
    const { say } = bench;
    this.pad = new Pad(bench);
    this.groups = make("div", {});
    const { node } = partOf(
      say("What the network sees"),
      this.pad,
      this.groups,
      make("p", { class: "note" }, say("Images that it was not trained on. Click one to see its numbers.")),
    );
    this.node = node;
  }

  /** Whether these are data that it can show. */
  fits(data) {
    return !data.plane;
  }

  draw(found) {
    const { data } = this.bench.course;
    if (this.data !== data) this.take(data);
    this.pad.draw();
    for (const { draw } of this.thumbs) draw(found);
  }

  take(data) {
    const { say } = this.bench;
    this.data = data;
    this.thumbs = [];
    const groups = [...data.names.map((name, c) => [say("digit {name}", { name }), c, 5]), [say("never seen"), -1, 10]];
    const lists = groups.map(([title, label, most]) => {
      const rows = Array.from(data.labels.keys()).filter((i) => data.labels[i] === label && data.held[i]);
      const thumbs = rows.slice(0, most).map((row) => this.thumb(row));
      this.thumbs.push(...thumbs);
      const list = make("div", { class: "thumbs" }, ...thumbs.map(({ node }) => node));
      return thumbs.length ? make("div", { class: "group" }, make("h4", {}, title), list) : "";
    });
    this.groups.replaceChildren(...lists);
  }

  thumb(row) {
    const { bench, data } = this;
    const picture = make("canvas", { class: "digit", "aria-hidden": "true" });
    drawDigit(picture, data.x.subarray(row * data.inputs, (row + 1) * data.inputs));
    const said = make("span", { class: "word" });
    const click = () => bench.speakOf({ row });
    const node = make("button", { type: "button", class: "thumb", click }, picture, said);
    const draw = (found) => {
      const accepted = found.score[row] <= found.theta;
      const fine = data.labels[row] < 0 ? !accepted : accepted && found.label[row] === data.labels[row];
      write(said, `${fine ? "✓" : "✗"} ${accepted ? data.names[found.label[row]] : `○ ${bench.say("unknown")}`}`);
      attribute(node, "aria-pressed", bench.probe?.row === row);
      node.classList.toggle("wrong", !fine);
    };
    return { node, draw };
  }
}

/** A pad to draw on; the drawing is fitted into eight by eight pixels as the digits are. */
class Pad {
  constructor(bench) {
    this.bench = bench;
    const { say } = bench;
    this.canvas = make("canvas", {
      class: "pad", width: PAD, height: PAD, role: "img", "aria-label": say("Draw here with the mouse or a finger"),
    });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(this.context, { lineWidth: 15, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
    this.listen();
    const wipe = make("button", { type: "button", class: "plain", click: () => this.tell("") }, say("Clear"));
    const about = make("div", {}, make("p", { class: "note" }, say("Draw anything.")), wipe);
    this.node = make("div", { class: "padding" }, this.canvas, about);
  }

  listen() {
    let from = null;
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * PAD, ((event.clientY - box.top) / box.height) * PAD];
    };
    const stroke = (to) => {
      this.context.beginPath();
      this.context.moveTo(...from);
      this.context.lineTo(...to);
      this.context.stroke();
      from = to;
      this.tell((this.shown = fitted(this.canvas)));
    };
    const listeners = {
      pointerdown: (event) => {
        if (event.button || !event.isPrimary) return;
        this.canvas.setPointerCapture(event.pointerId);
        from = at(event);
        stroke(from);
      },
      pointermove: (event) => from && event.isPrimary && stroke(at(event)),
      pointerup: () => (from = null),
      pointercancel: () => (from = null),
    };
    for (const [name, heard] of Object.entries(listeners)) this.canvas.addEventListener(name, heard);
  }

  tell(drawing) {
    const { bench } = this;
    bench.set({ drawing });
    bench.speakOf(drawing ? { row: bench.course.data.labels.length - 1 } : null);
  }

  draw() {
    const { state } = this.bench;
    this.node.hidden = state.unknown !== "drawing" || !this.bench.allows("draw");
    if (this.shown !== state.drawing) this.show(state.drawing);
  }

  /** A drawing that was not made here: from the address, or none. */
  show(drawing) {
    this.shown = drawing;
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, PAD, PAD);
    if (!drawing) return;
    const small = make("canvas", {});
    drawDigit(small, inkOf(drawing));
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(small, 0, 0, PAD, PAD);
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
  const scale = SIDE / Math.max(bottom - top + 1, right - left + 1);
  const ink = new Float64Array(SIDE * SIDE);
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const shade = 1 - data[4 * (y * width + x)] / 255;
      const column = Math.floor((x + 0.5 - (left + right + 1) / 2) * scale + SIDE / 2);
      const row = Math.floor((y + 0.5 - (top + bottom + 1) / 2) * scale + SIDE / 2);
      if (column >= 0 && column < SIDE && row >= 0 && row < SIDE) ink[row * SIDE + column] += shade * scale * scale;
    }
  }
  return Array.from(ink, (value) => Math.round(Math.min(value, 1) * 15).toString(16)).join("");
}

/** A digit's pixels, each 0 to 1 and more ink the darker, as a small picture. */
function drawDigit(canvas, ink) {
  Object.assign(canvas, { width: SIDE, height: SIDE });
  const image = new ImageData(SIDE, SIDE);
  ink.forEach((value, i) => {
    const shade = 255 - Math.round(255 * Math.min(Math.max(value, 0), 1));
    image.data.set([shade, shade, shade, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
