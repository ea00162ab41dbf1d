// <ddpm-reverse-explorer>: samples going back from noise to a mixture, beside the exact density.

const POINTS = 1000, PATHS = 32, TRAINED_STEPS = 1000;

class ReverseExplorer extends Explorer {
  static title = "Reverse process explorer";
  static data = ["targets"];
  static fields = {
    target: { value: "peaks", choices: (self) => Object.keys(self.targets) },
    sampler: { value: "ddpm", choices: () => ["ddpm", "ddim"] },
    variance: { value: "beta", choices: () => ["beta", "posterior"] },
    eta: { value: 0, min: 0, max: 1 },
    num_steps: { value: 50, min: 1, max: TRAINED_STEPS, whole: true },
    kind: { value: "linear", choices: () => KINDS },
    step: { value: 0, min: 0, max: TRAINED_STEPS, whole: true },
  };

  get targets() { return this.parsed ??= JSON.parse(this.getAttribute("targets")); }

  build() {
    const s = this.settings;
    this.canvas = make("canvas", { className: "stage", role: "img" });
    this.play = button("Play", "main", () => this.playing ? this.stop() : this.start());
    const one = button("Step", "", () => { this.stop(); this.change({ step: Math.min(s.step + 1, s.num_steps) }); });
    const restart = button("Restart", "", () => { this.stop(); this.change({ step: 0 }); });
    const variance = this.choices("variance", "Variance of the added noise", { beta: "σ² = β", posterior: "σ² = β̃" });
    const eta = this.slider("eta", "<i>η</i>", { values: Array.from({ length: 21 }, (_, i) => i / 20) });
    const place = this.slider("step", "steps done", { most: () => s.num_steps, text: (k) => `${k} of ${s.num_steps}` });
    place.addEventListener("input", () => this.stop());
    this.controls.push(() => { variance.hidden = s.sampler !== "ddpm"; eta.hidden = s.sampler !== "ddim"; });
    this.card.append(
      make("header", {}, make("strong", { textContent: "Reverse process" }), this.choices("kind", "Schedule"),
        this.menu("target", "Target distribution"), this.reset()),
      make("header", {}, this.choices("sampler", "Sampler", { ddpm: "DDPM", ddim: "DDIM" }), variance, eta,
        this.slider("num_steps", "steps", { values: [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000] })),
      this.canvas,
      make("div", { className: "play" }, this.play, one, restart, place),
      this.table({ t: "<i>t</i> now", alpha_bar: "<i>ᾱ<sub>t</sub></i>", distance: "<i>W</i><sub>1</sub> of the sample",
        expected_distance: "<i>W</i><sub>1</sub> if exact, about" }, "wide"),
      make("p", { className: "hint" }, html(
        "Look for: whether the sample (orange) ends on the exact density (blue). With few steps it ends too narrow. DDIM with " +
        "<i>η</i> = 0 draws smooth paths: the start decides the end. <i>W</i><sub>1</sub> is the distance of the 1000 points from the " +
        "density, in two dimensions its mean over 8 directions; even an exact sample is not at 0.")),
    );
  }

  // Every setting but the place in the run starts a new run; the place stays where it was, as a share.
  settle(values) {
    const s = this.settings;
    if (values.num_steps && this.total && values.step === undefined) s.step = Math.round(s.step / this.total * s.num_steps);
    this.total = s.num_steps;
    s.step = Math.min(s.step, s.num_steps);
    if (this.run && Object.keys(values).every((key) => key === "step")) return;
    const mixture = this.targets[s.target], dims = mixture.means[0].length;
    const { alphaBars } = schedule({ kind: s.kind, num_steps: TRAINED_STEPS, beta_start: 1e-4, beta_end: 0.02 });
    const steps = visitedSteps(TRAINED_STEPS, s.num_steps);
    this.run = {
      mixture, dims, steps, options: { ...s }, alphaBars: [1, ...alphaBars],
      states: [gaussians(POINTS * dims, 1)],
    };
  }

  // Walk until the wanted step is there, but no longer than a frame allows.
  advance({ mixture, steps, options, alphaBars, states }, wanted) {
    const deadline = performance.now() + 10;
    while (states.length <= wanted && performance.now() < deadline) {
      const done = states.length - 1, x = states[done], alphaBar = alphaBars[steps[done]];
      const noise = gaussians(x.length, 100 + done);
      states.push(reverseStep(options, x, expectedX0(mixture, x, alphaBar), alphaBar, alphaBars[steps[done + 1]], noise));
    }
    return states.length > wanted;
  }

  start() {
    const { num_steps } = this.settings, seconds = Math.min(5, Math.max(2, num_steps / 10));
    if (this.settings.step === num_steps) this.change({ step: 0 });
    const from = this.settings.step, begun = performance.now();
    const tick = (now) => {
      if (!this.playing || !this.isConnected) return;
      const step = Math.min(from + Math.floor(Math.max(now - begun, 0) / 1000 / seconds * num_steps), this.settings.num_steps);
      if (step !== this.settings.step) this.change({ step });
      if (step >= this.settings.num_steps) this.stop(); else requestAnimationFrame(tick);
    };
    this.playing = true;
    this.play.textContent = "Pause";
    requestAnimationFrame(tick);
  }

  stop() {
    this.playing = false;
    this.play.textContent = "Play";
  }

  draw() {
    const { run } = this, { step, num_steps } = this.settings;
    if (!this.advance(run, step)) { this.redraw(); return; } // the old view stays until the new one is ready
    const x = run.states[step], t = run.steps[step], alphaBar = run.alphaBars[t];
    const [distance, expected_distance] = distances(run.mixture, x, alphaBar);
    this.fill({ t, alpha_bar: alphaBar, distance, expected_distance });
    this.sentence = `Step ${step} of ${num_steps}, t ${t}: distance ${show(distance)}, of an exact sample about ${show(expected_distance)}.`;
    this.canvas.setAttribute("aria-label", `${POINTS} points of ${this.settings.target} after ${step} of ${num_steps} steps back, ` +
      "beside the histogram of their height and its exact density");
    this.paint(run, x, step, alphaBar);
  }

  paint(run, x, step, alphaBar) {
    const { canvas } = this, ratio = devicePixelRatio, wide = canvas.clientWidth, high = canvas.clientHeight;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
    const pen = canvas.getContext("2d"), style = getComputedStyle(this), colour = (name) => style.getPropertyValue(`--${name}`);
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const left = Math.round(wide * 0.68), down = high - 22, from = left + 14, across = wide - from;
    const scale = Math.min(down / (run.dims === 2 ? 4.8 : 6), run.dims === 2 ? left / 5.2 : Infinity), middle = down / 2;
    const y = (value) => middle - value * scale, reach = middle / scale;

    pen.save();
    pen.beginPath();
    pen.rect(0, 0, left, down);
    pen.clip();
    this.shade(pen, run, alphaBar, left, down, scale, colour("blue"));
    const { dims } = run;
    if (dims === 1) {
      const place = (k) => left * (1 - run.steps[k] / TRAINED_STEPS);
      const stride = Math.max(1, Math.floor(run.steps.length / 250));
      pen.strokeStyle = colour("ink");
      pen.lineWidth = 0.8;
      pen.globalAlpha = 0.45;
      for (let n = 0; n < PATHS; n++) {
        pen.beginPath();
        for (let k = 0; k < step; k += stride) pen.lineTo(place(k), y(run.states[k][n]));
        pen.lineTo(place(step), y(x[n]));
        pen.stroke();
      }
      pen.globalAlpha = 1;
      pen.fillStyle = colour("orange");
      const at = Math.min(Math.max(place(step), 3), left - 3);
      for (let n = 0; n < PATHS; n++) { pen.beginPath(); pen.arc(at, y(x[n]), 3, 0, 7); pen.fill(); }
    } else {
      pen.fillStyle = colour("orange");
      pen.globalAlpha = 0.75;
      for (let n = 0; n < POINTS; n++) {
        pen.beginPath();
        pen.arc(left / 2 + x[2 * n] * scale, y(x[2 * n + 1]), 1.8, 0, 7);
        pen.fill();
      }
    }
    pen.restore();

    // The histogram stands on its side, so that its axis is the vertical axis of the picture beside it.
    const bins = 60, width = 2 * reach / bins, counts = new Float64Array(bins);
    for (let i = dims - 1; i < x.length; i += dims) {
      const bin = Math.floor((x[i] + reach) / width);
      if (bin >= 0 && bin < bins) counts[bin] += 1 / (POINTS * width);
    }
    const curve = marginal(run.mixture, alphaBar, dims === 1 ? [1] : [0, 1]);
    const heights = Array.from({ length: 241 }, (_, i) => reach * (i / 120 - 1)), densities = heights.map(curve);
    const most = 1.25 * Math.max(...densities), bar = (density) => Math.min(density / most, 1) * across;
    pen.fillStyle = colour("orange");
    pen.globalAlpha = 0.6;
    counts.forEach((density, bin) => pen.fillRect(from, y(-reach + (bin + 1) * width) + 0.5, bar(density), width * scale - 1));
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("blue");
    pen.lineWidth = 2;
    pen.beginPath();
    heights.forEach((height, i) => pen.lineTo(from + bar(densities[i]), y(height)));
    pen.stroke();

    pen.lineWidth = 1;
    pen.strokeStyle = colour("line");
    pen.strokeRect(0.5, 0.5, left - 1, down - 1);
    pen.strokeRect(from + 0.5, 0.5, across - 1, down - 1);
    pen.fillStyle = colour("soft");
    if (dims === 1) {
      pen.fillText(`noise, t = ${TRAINED_STEPS}`, 0, high - 6);
      pen.textAlign = "right";
      pen.fillText("data, t = 0", left, high - 6);
    } else {
      pen.fillText("sample and exact density", 0, high - 6);
    }
    pen.textAlign = "left";
    pen.fillText(dims === 1 ? "histogram" : "of the height", from, high - 6);
  }

  // Shade the exact density: of every t in one dimension, of the present one in two.
  shade(pen, run, alphaBar, left, down, scale, blue) {
    const rows = run.dims === 1 ? 90 : 64, columns = run.dims === 1 ? 180 : Math.round(rows * left / down), reach = down / 2 / scale;
    const image = new ImageData(columns, rows), tint = blue.match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));
    if (run.dims === 2) run.backdrop = undefined;
    if (!run.backdrop || run.tint !== blue || run.reach !== reach) {
      const density = new Float64Array(rows * columns), { means, weights } = run.mixture;
      for (let column = 0; column < columns; column++) {
        if (run.dims === 1) {
          const t = Math.round(TRAINED_STEPS * (1 - (column + 0.5) / columns));
          const along = marginal(run.mixture, run.alphaBars[t], [1]);
          for (let row = 0; row < rows; row++) density[row * columns + column] = along(reach * (1 - 2 * (row + 0.5) / rows));
        } else {
          const variance = spread(run.mixture, alphaBar), root = Math.sqrt(alphaBar);
          const across = ((column + 0.5) / columns - 0.5) * left / scale;
          for (let row = 0; row < rows; row++) {
            const height = reach * (1 - 2 * (row + 0.5) / rows);
            for (let k = 0; k < means.length; k++) {
              const squares = (across - root * means[k][0]) ** 2 + (height - root * means[k][1]) ** 2;
              density[row * columns + column] += weights[k] * Math.exp(-squares / (2 * variance));
            }
          }
        }
      }
      const most = density.reduce((a, b) => Math.max(a, b));
      density.forEach((value, i) => image.data.set([...tint, 150 * Math.sqrt(value / most)], 4 * i));
      run.backdrop = make("canvas", { width: columns, height: rows });
      run.backdrop.getContext("2d").putImageData(image, 0, 0);
      run.tint = blue;
      run.reach = reach;
    }
    pen.imageSmoothingQuality = "high";
    pen.drawImage(run.backdrop, 0, 0, left, down);
  }
}
