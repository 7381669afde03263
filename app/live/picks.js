// What is selected: how many, and small images with their scores.

const MOST_TILES = 60;

class Picks {
  constructor(space) {
    this.space = space;
    const { say } = space;
    this.title = make("h3");
    this.clear = make("button", { type: "button", class: "plain", click: () => space.select([]) }, say("Clear"));
    this.tiles = make("div", { class: "picks" });
    this.note = make("p", { class: "note" });
    this.picks = [];
    this.node = make(
      "section",
      { class: "selection" },
      make("header", {}, this.title, this.clear),
      this.tiles,
      this.note,
    );
  }

  fill() {
    const { say, judged, state, cast } = this.space;
    this.node.hidden = Boolean(cast.film); // its images are others
    if (cast.film) return;
    const { score } = judged;
    const rows = [...state.selection].sort((a, b) => score[a] - score[b]);
    const count = rows.length;
    write(
      this.title,
      count === 1
        ? say("1 image selected")
        : count
          ? say("{count} images selected", { count })
          : say("Nothing selected"),
    );
    this.clear.hidden = !count;
    const shown = rows.slice(0, MOST_TILES);
    write(
      this.note,
      !count
        ? say("Click an image to pick it, or draw around many with the lasso.")
        : count > MOST_TILES
          ? say("The {most} with the lowest scores are shown.", { most: MOST_TILES })
          : "",
    );
    while (this.picks.length < shown.length) {
      const tile = this.tile();
      this.picks.push(tile);
      this.tiles.append(tile.node);
    }
    this.picks.forEach((tile, n) => {
      tile.node.hidden = n >= shown.length;
      if (n < shown.length) tile.show(shown[n]);
    });
  }

  /** A small selected image with its score; pointing at it shows where it lies. */
  tile() {
    const { space } = this;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const value = make("span", { class: "score" });
    let row = -1;
    const node = make(
      "button",
      {
        type: "button",
        class: "pick",
        pointerenter: () => space.point(row),
        pointerleave: () => space.point(-1),
        focus: () => node.matches(":focus-visible") && space.point(row),
        blur: () => space.point(-1),
        click: () => space.select([row]),
      },
      canvas,
      value,
    );
    const show = (next) => {
      row = next;
      canvas.hidden = !drawSprite(canvas, space.feed, row, 44, () => show(row));
      write(value, number(space.judged.score[row]));
      attribute(node, "aria-label", space.pointer.linesFor(row).join(", "));
    };
    return { node, show };
  }
}
