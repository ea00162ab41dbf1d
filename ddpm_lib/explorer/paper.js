// A paper to paint on, for a walk that begins at a noised painting.

const PAPER = 128; // pixels of its side; a model gets it in the size of its own images

// Paintings to begin with: a ground, and strokes of [colour, width, points], in shares of the side.
const oval = (x, y, wide, high) => Array.from({ length: 25 }, (_, i) =>
  [x + wide * Math.cos(i * Math.PI / 12), y + high * Math.sin(i * Math.PI / 12)]);
const PAINTINGS = {
  blank: ["#000000", []],
  digit: ["#000000", [
    ["#ffffff", 0.14, [[0.3, 0.14], [0.6, 0.12], [0.68, 0.28], [0.45, 0.46], [0.7, 0.64], [0.62, 0.86], [0.3, 0.88]]],
  ]],
  head: ["#4060a0", [
    ["#5a3a20", 0.3, oval(0.5, 0.4, 0.2, 0.22)], ["#d8a888", 0.26, oval(0.5, 0.54, 0.12, 0.2)],
    ["#d8a888", 0.2, [[0.5, 0.42], [0.5, 0.7]]], ["#302018", 0.06, [[0.36, 0.48], [0.43, 0.48]]],
    ["#302018", 0.06, [[0.57, 0.48], [0.64, 0.48]]], ["#b08060", 0.05, [[0.5, 0.5], [0.5, 0.6]]],
    ["#a04038", 0.05, [[0.41, 0.72], [0.59, 0.72]]],
  ]],
};

// A square of a picture in another size. A browser averages at most neighbours, so it is halved until that is enough.
function shrunk(picture, side, size, left = 0, top = 0) {
  const next = Math.max(size, Math.ceil(side / 2)), canvas = make("canvas", { width: next, height: next });
  canvas.getContext("2d").drawImage(picture, left, top, side, side, 0, 0, next, next);
  return next === size ? canvas : shrunk(canvas, next, size);
}

class Paper {
  // `changed` is called when the pen lifts, and after a picture was loaded.
  constructor(changed) {
    this.canvas = make("canvas", { className: "square paper", width: PAPER, height: PAPER, role: "img", "aria-label": "A paper to paint on" });
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.colour = make("input", { type: "color", value: "#ffffff", "aria-label": "colour of the pen" });
    this.width = make("input", { type: "range", min: 3, max: 40, value: 16, "aria-label": "width of the pen" });
    let last;
    const line = (event) => {
      const box = this.canvas.getBoundingClientRect(), at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      this.stroke(this.colour.value, this.width.value / PAPER, [last ?? at, at]);
      last = at;
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.touched = true;
      line(event);
    });
    this.canvas.addEventListener("pointermove", (event) => { if (last) line(event); });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => {
        if (!last) return;
        last = undefined;
        changed();
      });
    }
    this.file = make("input", { type: "file", accept: "image/*" });
    this.file.addEventListener("change", async () => {
      if (!this.file.files.length) return;
      const image = await createImageBitmap(this.file.files[0]).catch(() => undefined);
      if (image) {
        const side = Math.min(image.width, image.height);
        this.pen.drawImage(shrunk(image, side, PAPER, (image.width - side) / 2, (image.height - side) / 2), 0, 0);
        this.touched = true;
      }
      changed(image ? undefined : "this browser cannot read the picture");
    });
  }

  begin(name) {
    const [ground, strokes] = PAINTINGS[name];
    this.touched = false;
    this.pen.fillStyle = ground;
    this.pen.fillRect(0, 0, PAPER, PAPER);
    for (const stroke of strokes) this.stroke(...stroke);
  }

  stroke(colour, width, points) {
    const { pen } = this;
    pen.strokeStyle = colour;
    pen.lineWidth = width * PAPER;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(x * PAPER, y * PAPER);
    pen.stroke();
  }

  // The painting as a model sees it: (size, size, channels) in [-1, 1].
  values([size, , channels]) {
    const { data } = shrunk(this.canvas, PAPER, size).getContext("2d").getImageData(0, 0, size, size);
    return Float32Array.from({ length: size * size * channels }, (_, i) => {
      const at = 4 * Math.floor(i / channels);
      const value = channels === 3 ? data[at + i % 3] : (data[at] + data[at + 1] + data[at + 2]) / 3;
      return value / 127.5 - 1;
    });
  }
}
