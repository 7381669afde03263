// Looking closer at a picture: how much it is enlarged, and which place of it is in the middle.

const CLOSEST = 64;

/** x and y: the middle of what is seen, as shares of the whole picture, of which nothing beyond is ever seen. */
class Camera {
  scale = 1;
  x = 0.5;
  y = 0.5;

  get near() {
    return this.scale > 1;
  }

  /** So many times closer, where (u, v), shares of what is seen, stays where it is. */
  zoom(times, u = 0.5, v = 0.5) {
    const scale = Math.min(Math.max(this.scale * times, 1), CLOSEST);
    const gain = 1 / this.scale - 1 / scale;
    this.scale = scale < 1.001 ? 1 : scale;
    this.place(this.x + (u - 0.5) * gain, this.y + (v - 0.5) * gain);
  }

  /** The picture goes along with a finger, by shares of what is seen. */
  pan(u, v) {
    this.place(this.x - u / this.scale, this.y - v / this.scale);
  }

  whole() {
    this.scale = 1;
    this.place(0.5, 0.5);
  }

  place(x, y) {
    const edge = 0.5 / this.scale;
    this.x = Math.min(Math.max(x, edge), 1 - edge);
    this.y = Math.min(Math.max(y, edge), 1 - edge);
  }

  /** Places of the whole picture to those that are seen, and back, on paper so wide and tall. */
  lens(width, height) {
    const { scale } = this;
    const [left, top] = [width * (0.5 - this.x * scale), height * (0.5 - this.y * scale)];
    const lens = {
      scale,
      x: (x) => x * scale + left,
      y: (y) => y * scale + top,
      at: ([x, y]) => [x * scale + left, y * scale + top],
      back: (x, y) => [(x - left) / scale, (y - top) / scale],
      moved(places) {
        if (!places) return null;
        const seen = new Float64Array(places.length);
        for (let i = 0; i < seen.length; i += 2) {
          seen[i] = places[i] * scale + left;
          seen[i + 1] = places[i + 1] * scale + top;
        }
        return seen;
      },
    };
    return lens;
  }
}
