// <ddpm-cost-explorer>: what a training step takes on a card whose numbers the reader enters.

const OWN_CARD = "your own";
const CARD_NUMBERS = ["float32", "half", "bandwidth", "memory"]; // in the order of the table's cards

// What `ddpm_lib.cost` predicts of a step, from its table of layers; see cost_table in costs.py.
function predictCost(costs, settings, batch = settings.batch_size) {
  const whole = settings.precision === "float32", { parameters } = costs;
  const peak = (whole ? settings.float32 : settings.half) * 1e12, bandwidth = settings.bandwidth * 1e9;
  const updateMoved = 4 * parameters + 2 * 16 * parameters; // gradients read, state read and written
  const layers = costs.rows[settings.precision].map(([name, variants]) => {
    const again = settings.rematerialize === "yes" ? variants.again : undefined;
    const [flops, movedAnyway, moved, kept, scratchAnyway, scratch] = variants[settings.attention] ?? again ?? variants[""];
    const layer = { name, flops: flops * batch, moved: movedAnyway + moved * batch, kept: kept * batch };
    layer.byFlops = layer.flops / peak;
    layer.byBytes = layer.moved / bandwidth;
    layer.seconds = Math.max(layer.byFlops, layer.byBytes);
    layer.scratch = scratchAnyway + scratch * batch;
    return layer;
  });
  let kept = 0, most = 0, seconds = updateMoved / bandwidth, waiting = seconds;
  for (const layer of layers) {
    kept += layer.kept;
    most = Math.max(most, kept + layer.scratch);
    seconds += layer.seconds;
    if (layer.byBytes > layer.byFlops) waiting += layer.seconds;
  }
  const state = 16 * parameters, gradients = 4 * parameters + (whole ? 0 : 2 * parameters);
  return { layers, state, gradients, kept, most, peakBytes: state + gradients + most,
    step: seconds / settings.efficiency, waitingShare: waiting / seconds };
}

function largestBatch(costs, settings) {
  let batch = 1;
  while (predictCost(costs, settings, batch).peakBytes <= costs.usable * settings.memory * 1e9) batch *= 2;
  return Math.floor(batch / 2);
}

class CostExplorer extends Explorer {
  static title = "Time and memory of a training step";
  static data = ["costs"];
  static fields = {
    card: { value: "T4", choices: (self) => [...Object.keys(self.costs.cards), OWN_CARD] },
    float32: { value: 8.1, min: 1e-3, max: 1e5 },
    half: { value: 65, min: 1e-3, max: 1e5 },
    bandwidth: { value: 320, min: 1e-1, max: 1e6 },
    memory: { value: 16, min: 1e-1, max: 1e4 },
    batch_size: { value: 16, min: 1, max: 4096, whole: true },
    precision: { value: "float32", choices: () => ["float32", "mixed_float16"] },
    attention: { value: "plain", choices: () => ["plain", "singly", "fused"] },
    rematerialize: { value: "no", choices: () => ["no", "yes"] },
    efficiency: { value: 0.5, min: 0.01, max: 1 },
  };

  get costs() { return this.parsed ??= JSON.parse(this.getAttribute("costs")); }

  number(key, label, unit) {
    const input = make("input", { type: "number", min: 0, step: "any", "data-key": key });
    input.addEventListener("change", () => this.change({ [key]: this.read(key, input.value) ?? this.settings[key] }));
    this.controls.push(() => { input.value = this.settings[key]; });
    return make("label", { className: "field" }, make("span", { textContent: label }), input, make("span", { textContent: unit }));
  }

  build() {
    const drawing = (name) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("aria-hidden", "true"); // the numbers below say it in words
      svg.setAttribute("class", name);
      return svg;
    };
    this.roof = drawing("roof");
    this.bar = drawing("bar");
    this.legend = make("figcaption", { className: "legend" });
    this.card.append(
      make("header", {}, make("strong", { textContent: "What a training step takes" }), this.menu("card", "Card"), this.reset()),
      make("div", { className: "fields" }, this.number("float32", "float32", "TFLOP/s"), this.number("half", "halves", "TFLOP/s"),
        this.number("bandwidth", "bandwidth", "GB/s"), this.number("memory", "memory", "GB")),
      make("header", {}, this.choices("precision", "Precision", { mixed_float16: "mixed" }),
        make("span", { textContent: "attention", "aria-hidden": "true" }), this.choices("attention", "Attention", { singly: "one head at a time" }),
        this.choices("rematerialize", "Rematerialize", { no: "keep all", yes: "rematerialize" })),
      make("div", { className: "sliders" },
        this.slider("batch_size", "batch", { values: Array.from({ length: 13 }, (_, i) => 2 ** i) }),
        this.slider("efficiency", "of the peaks", {
          values: [0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1], text: (share) => `${Math.round(100 * share)} %`,
        })),
      make("figure", {}, make("figcaption", {}, html("<b>FLOP/s</b> within reach, over FLOP/byte")), this.roof),
      make("figure", {}, this.bar, this.legend),
      this.table({
        step_s: "step, s", images_per_second: "images/s", epoch_minutes: "epoch, min", memory_gb: "memory, GB",
        largest_batch: "largest batch", waiting_share: "waits for bytes",
      }),
      this.warning,
      make("p", { className: "hint" }, html(
        "Each dot is a layer, orange for attention; its area is its share of the time. On the slope a layer waits for bytes, at " +
        "the flat roof for FLOPs. Layers without products have no place in the picture, but their time counts. An epoch is " +
        `${this.costs.images.toLocaleString("en")} images. All of this is predicted. Loading images and starting operations are left out.`)),
    );
  }

  // A card brings its numbers; other numbers are another card.
  settle(values) {
    const s = this.settings, { cards } = this.costs;
    if (values.card in cards) {
      CARD_NUMBERS.forEach((key, place) => { s[key] = cards[s.card][place]; });
    } else if (values.card === undefined) {
      const same = (name) => cards[name] && CARD_NUMBERS.every((key, place) => cards[name][place] === s[key]);
      if (!same(s.card) && s.card !== OWN_CARD) s.card = Object.keys(cards).find(same) ?? OWN_CARD;
    }
  }

  draw() {
    const s = this.settings, found = predictCost(this.costs, s), seconds = found.step;
    this.fill({
      step_s: seconds, images_per_second: s.batch_size / seconds, epoch_minutes: this.costs.images / s.batch_size * seconds / 60,
      memory_gb: found.peakBytes / 1e9, largest_batch: largestBatch(this.costs, s), waiting_share: found.waitingShare,
    });
    const { readings } = this;
    this.cells.waiting_share.textContent = `${Math.round(100 * found.waitingShare)} %`;
    this.warning.hidden = s.batch_size <= readings.largest_batch;
    this.warning.textContent = this.warning.hidden ? "" :
      `A batch of ${s.batch_size} does not fit: it takes ${readings.memory_gb.toPrecision(3)} GB, and ` +
      `${Math.round(100 * this.costs.usable)} % of ${s.memory} GB is counted on.`;
    this.sentence = `${s.card}, batch ${s.batch_size}: a step takes ${show(seconds)} seconds, ` +
      `an epoch ${show(readings.epoch_minutes)} minutes, memory ${show(readings.memory_gb)} gigabytes, ` +
      `${this.cells.waiting_share.textContent} of the time is waiting for bytes. ${this.warning.textContent}`;
    this.drawRoof(found);
    this.drawBar(found);
  }

  // The roofline, both axes logarithmic.
  drawRoof({ layers }) {
    const s = this.settings, peak = (s.precision === "float32" ? s.float32 : s.half) * 1e12, bandwidth = s.bandwidth * 1e9;
    const width = this.roof.clientWidth, height = this.roof.clientHeight, left = 44;
    const across = width - left - 16, down = height - MARGIN.top - MARGIN.bottom;
    const [low, high] = [-1, 3], top = Math.ceil(Math.log10(peak)), bottom = Math.floor(Math.log10(bandwidth)) - 1;
    const x = (power) => left + (power - low) / (high - low) * across;
    const y = (power) => MARGIN.top + (top - power) / (top - bottom) * down;
    const reach = (intensity) => Math.log10(Math.min(peak, intensity * bandwidth));
    const ridge = Math.min(Math.max(Math.log10(peak / bandwidth), low), high), total = layers.reduce((sum, layer) => sum + layer.seconds, 0);
    const line = [low, ridge, high].map((power) => `${x(power)},${y(reach(10 ** power))}`).join(" ");
    const label = (power) => `${10 ** (power % 3)} ${["", "k", "M", "G", "T", "P", "E"][Math.floor(power / 3)]}`;
    const marks = Array.from({ length: top - bottom + 1 }, (_, i) => bottom + i);
    const dots = layers.filter((layer) => layer.flops).sort((a, b) => b.seconds - a.seconds).map((layer) => {
      const intensity = layer.flops / layer.moved, radius = Math.max(2, 26 * Math.sqrt(layer.seconds / total));
      const kind = layer.name.includes("attention") ? "orange" : "blue";
      return `<circle class="layer ${kind}" cx="${x(Math.log10(intensity))}" cy="${y(reach(intensity))}" r="${radius}"/>`;
    });
    this.roof.innerHTML =
      marks.map((power) => `<line class="guide" x1="${x(low)}" x2="${x(high)}" y1="${y(power)}" y2="${y(power)}"/>` +
        `<text x="${x(low) - 5}" y="${y(power) + 4}" text-anchor="end">${label(power)}</text>`).join("") +
      [-1, 0, 1, 2, 3].map((power) => `<text x="${x(power)}" y="${height - 3}" text-anchor="middle">${10 ** power}</text>`).join("") +
      `<polyline class="curve" points="${line}"/>${dots.join("")}`;
  }

  // What memory holds, against the card's.
  drawBar({ state, gradients, most }) {
    const s = this.settings, parts = [["weights, average, moments", state, "soft"], ["gradients", gradients, "blue"],
      ["activations and scratch space", most, "orange"]];
    const width = this.bar.clientWidth, total = state + gradients + most, scale = width / Math.max(total, s.memory * 1e9);
    let from = 0;
    this.bar.innerHTML = parts.map(([, bytes, kind]) => {
      const rectangle = `<rect class="part ${kind}" x="${from * scale}" y="2" width="${bytes * scale}" height="20"/>`;
      from += bytes;
      return rectangle;
    }).join("") + `<rect class="frame" x="0.5" y="2" width="${Math.max(s.memory * 1e9 * scale - 1, 0)}" height="20"/>`;
    this.legend.replaceChildren(html(parts.map(([name, bytes, kind]) =>
      `<span><i class="key ${kind}"></i> ${name} <b>${(bytes / 1e9).toPrecision(2)} GB</b></span>`).join(" ")));
  }
}
