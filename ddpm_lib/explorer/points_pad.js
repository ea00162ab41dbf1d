// What the lesson shows: a pad of points to draw on, the field of a denoiser, and a curve of losses.

const REACH = 2.6; // the pad and the fields show -2.6 .. 2.6
const MOST_POINTS = 300;

// A pen in the page's own pixels, on a canvas as sharp as the screen, and the theme's colours.
function penOn(canvas) {
  const ratio = devicePixelRatio, wide = canvas.clientWidth, high = canvas.clientHeight, style = getComputedStyle(canvas);
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";
  return { pen, wide, high, colour: (name) => style.getPropertyValue(`--${name}`) };
}

const place = (wide) => ([x, y]) => [wide / 2 * (1 + x / REACH), wide / 2 * (1 - y / REACH)];

function dots(pen, places, size, colour, alpha) {
  pen.fillStyle = colour;
  pen.globalAlpha = alpha;
  for (const [x, y] of places) { pen.beginPath(); pen.arc(x, y, size, 0, 7); pen.fill(); }
  pen.globalAlpha = 1;
}

class PointsPad {
  points = [];
  cross = [0, 0]; // where a key sets the next point

  // `changed` is called after every change of the points, `redraw` when only the cross moved.
  constructor(changed, redraw) {
    const canvas = this.canvas = make("canvas", { className: "square paper", tabIndex: 0, role: "application" });
    let last;
    const draw = (event) => {
      const box = canvas.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
      const point = at.map((share) => Math.max(-1, Math.min(1, 2 * share - 1)) * REACH);
      if (last && Math.hypot(point[0] - last[0], point[1] - last[1]) < 0.12) return;
      last = this.cross = point;
      this.add(point);
      changed();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      draw(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (last) draw(event); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = undefined; });
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      const way = ways[event.key], pace = event.shiftKey ? 0.5 : 0.1;
      if (way) {
        this.cross = this.cross.map((value, d) => Math.max(-REACH, Math.min(REACH, value + pace * way[d])));
        redraw();
      } else if (event.key === " " || event.key === "Enter") {
        this.add(this.cross);
        changed();
      } else if (event.key === "Backspace") {
        this.points = this.points.slice(0, -1);
        changed();
      } else {
        return;
      }
      event.preventDefault();
    });
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, redraw);
  }

  add(point) {
    if (this.points.length < MOST_POINTS) this.points = [...this.points, point.map((value) => Math.round(value * 1000) / 1000)];
  }

  paint(samples) {
    const { pen, wide, high, colour } = penOn(this.canvas), at = place(wide);
    const drawn = Array.from({ length: (samples?.length ?? 0) / 2 }, (_, i) => at([samples[2 * i], samples[2 * i + 1]]));
    dots(pen, this.points.map(at), 3.2, colour("blue"), 1);
    dots(pen, drawn, 1.7, colour("orange"), 0.75);
    if (!this.canvas.matches(":focus-visible")) return;
    const [x, y] = at(this.cross);
    pen.strokeStyle = colour("ink");
    pen.strokeRect(x - 4, y - 4, 8, 8);
    for (const [dx, dy] of [[9, 0], [0, 9]]) { pen.beginPath(); pen.moveTo(x - dx, y - dy); pen.lineTo(x + dx, y + dy); pen.stroke(); }
  }
}

// The middles of side x side cells, row by row from the top.
const cellPlaces = (side) => Float64Array.from({ length: 2 * side ** 2 }, (_, i) => {
  const cell = i % 2 ? side - 1 - Math.floor((i >> 1) / side) : (i >> 1) % side;
  return REACH * ((2 * cell + 1) / side - 1);
});
const GRID_SIDE = 15, GRID_PLACES = cellPlaces(GRID_SIDE); // where arrows begin
const SHADE_SIDE = 40, SHADE_PLACES = cellPlaces(SHADE_SIDE); // of the shade under them: where noisy points are

// The density of noisy points, up to a factor so that the largest is 1, at (x, y) pairs.
function shareOfDensity(points, pairs, alphaBar) {
  const root = Math.sqrt(alphaBar), density = new Float64Array(pairs.length / 2);
  for (let i = 0; i < density.length; i++) {
    for (const [x, y] of points) {
      density[i] += Math.exp(-((pairs[2 * i] - root * x) ** 2 + (pairs[2 * i + 1] - root * y) ** 2) / (2 * (1 - alphaBar)));
    }
  }
  const most = density.reduce((a, b) => Math.max(a, b), 1e-300);
  return density.map((value) => value / most);
}

// Arrows towards the predicted image x0, pale where noisy points are rare.
function paintField(canvas, { shade, seen }, x0) {
  const { pen, wide, colour } = penOn(canvas), at = place(wide), longest = 0.85 * wide / GRID_SIDE;
  const small = make("canvas", { width: SHADE_SIDE, height: SHADE_SIDE }), cells = new ImageData(SHADE_SIDE, SHADE_SIDE);
  const tint = colour("blue").match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));
  shade.forEach((value, i) => cells.data.set([...tint, 120 * Math.sqrt(value)], 4 * i));
  small.getContext("2d").putImageData(cells, 0, 0);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, wide, wide);
  pen.strokeStyle = colour("ink");
  for (let i = 0; x0 && i < seen.length; i++) {
    const [x, y] = at([GRID_PLACES[2 * i], GRID_PLACES[2 * i + 1]]), [toX, toY] = at([x0[2 * i], x0[2 * i + 1]]);
    const far = Math.hypot(toX - x, toY - y) || 1, length = Math.min(0.4 * far, longest), [dx, dy] = [(toX - x) / far, (toY - y) / far];
    const [endX, endY] = [x + length * dx, y + length * dy], head = Math.min(4, length / 2);
    pen.globalAlpha = 0.2 + 0.8 * Math.sqrt(seen[i]);
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(endX, endY);
    pen.lineTo(endX - head * (dx + 0.6 * dy), endY - head * (dy - 0.6 * dx));
    pen.moveTo(endX, endY);
    pen.lineTo(endX - head * (dx - 0.6 * dy), endY - head * (dy + 0.6 * dx));
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("line");
  pen.strokeRect(0.5, 0.5, wide - 1, wide - 1);
}

// The losses of a run, fifty means over the budget, between what silence and the exact answer have.
function paintLosses(canvas, losses, budget, limits) {
  const { pen, wide, high, colour } = penOn(canvas), width = Math.max(1, budget / 50), down = high - 20;
  pen.strokeStyle = colour("line");
  pen.strokeRect(0.5, 0.5, wide - 1, down - 1);
  pen.fillStyle = colour("soft");
  pen.fillText("0", 0, high - 5);
  pen.textAlign = "right";
  pen.fillText(`${budget} steps`, wide, high - 5);
  if (!limits) return;
  const range = limits.silent - limits.exact || 1;
  const y = (loss) => Math.max(2, Math.min(down - 2, down * (0.2 + 0.6 * (limits.silent - loss) / range)));
  pen.setLineDash([4, 3]);
  for (const [name, text, lift] of [["silent", "always 0", -5], ["exact", "exact answer", 14]]) {
    pen.strokeStyle = colour("soft");
    pen.beginPath();
    pen.moveTo(0, y(limits[name]));
    pen.lineTo(wide, y(limits[name]));
    pen.stroke();
    pen.fillText(`${text}: ${few(limits[name])}`, wide - 6, y(limits[name]) + lift);
  }
  pen.setLineDash([]);
  pen.strokeStyle = colour("orange");
  pen.lineWidth = 2;
  pen.beginPath();
  for (let from = 0; from < losses.length; from += width) {
    const part = losses.slice(Math.round(from), Math.round(from + width));
    if (part.length) pen.lineTo((from + part.length / 2) / budget * wide, y(part.reduce((a, b) => a + b) / part.length));
  }
  pen.stroke();
}

// Two digits, for a narrow table.
const few = (value) => value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e3 ? value.toExponential(0)
  : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
