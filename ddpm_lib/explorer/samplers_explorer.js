// <ddpm-samplers-explorer>: where every sampler ends, from the same noise.

const SAMPLERS = { // in the order of the panels: the title, and the options of reverseStep
  beta: ["DDPM, σ² = β", { sampler: "ddpm", variance: "beta" }],
  posterior: ["DDPM, σ² = β̃", { sampler: "ddpm", variance: "posterior" }],
  ddim: ["DDIM, η = 0", { sampler: "ddim", eta: 0 }],
  solver: ["DPM-Solver++", null],
};

// One step of dpm_solver_pp_sample, without clipping; `before` is the step before, { logU, x0 }, or undefined.
function solverStep(x, x0, alphaBar, next, before) {
  const logU = (bar) => Math.log(bar / (1 - bar)) / 2;
  const ahead = before && next < 1 ? (logU(next) - logU(alphaBar)) / (logU(alphaBar) - before.logU) / 2 : 0;
  const weightX = Math.sqrt((1 - next) / (1 - alphaBar)), weightX0 = Math.sqrt(next) - weightX * Math.sqrt(alphaBar);
  return x.map((value, i) => weightX * value + weightX0 * (x0[i] + (ahead ? ahead * (x0[i] - before.x0[i]) : 0)));
}

// The steps visited, as the paper's t, down to 0: timestep_subsequence.
function spacedSteps(T, count, spacing) {
  if (spacing === "trailing") return visitedSteps(T, count);
  const stride = spacing === "leading" ? Math.floor(T / count) : (T - 1) / Math.max(count - 1, 1);
  const index = (i) => spacing === "leading" ? (count - 1 - i) * stride : T - 1 - i * stride;
  return [...Array.from({ length: count }, (_, i) => halfToEven(index(i)) + 1), 0];
}

class SamplersExplorer extends Explorer {
  static title = "Samplers side by side";
  static data = ["targets"];
  static fields = {
    target: { value: "moons", choices: (self) => Object.keys(self.targets) },
    spacing: { value: "trailing", choices: () => ["trailing", "leading", "linspace"] },
    num_steps: { value: 10, min: 1, max: 250, whole: true },
  };

  get targets() { return this.parsed ??= JSON.parse(this.getAttribute("targets")); }

  build() {
    this.cells = {};
    this.canvases = {};
    const panels = Object.entries(SAMPLERS).map(([key, [title]]) => {
      this.canvases[key] = make("canvas", { className: "square", role: "img" });
      this.cells[key] = make("b", { "data-reading": key });
      const caption = make("figcaption", {}, title, make("br"), html("<i>W</i><sub>1</sub> "), this.cells[key]);
      return make("figure", {}, this.canvases[key], caption);
    });
    this.cells.expected_distance = make("b", { "data-reading": "expected_distance" });
    this.card.append(
      make("header", {}, make("strong", { textContent: "Samplers, from the same noise" }),
        this.choices("spacing", "Steps visited"), this.menu("target", "Target distribution"), this.reset()),
      this.slider("num_steps", "steps", { values: [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 250] }),
      make("div", { className: "panels" }, ...panels),
      make("p", { className: "hint" }, html(
        "The 1000 points start from the same noise in every panel, and the denoiser is exact. Blue is the density that they " +
        "should have. <i>W</i><sub>1</sub> is their distance from it; for an exact sample it is about "),
        this.cells.expected_distance, ". Look for: noise around the shape, and a shape that is too narrow."),
    );
  }

  // Every setting starts new runs.
  settle() {
    const s = this.settings, mixture = this.targets[s.target];
    const { alphaBars } = schedule({ kind: "linear", num_steps: TRAINED_STEPS, beta_start: 1e-4, beta_end: 0.02 });
    const start = gaussians(2 * POINTS, 1);
    this.runs = Object.fromEntries(Object.keys(SAMPLERS).map((key) => [key, { x: start, done: 0, before: undefined }]));
    this.walk = { mixture, alphaBars: [1, ...alphaBars], steps: spacedSteps(TRAINED_STEPS, s.num_steps, s.spacing) };
  }

  // Walk on, but no longer than a frame allows; say whether all are at the end.
  advance() {
    const { mixture, alphaBars, steps } = this.walk, deadline = performance.now() + 10;
    for (const [key, run] of Object.entries(this.runs)) {
      for (; run.done < steps.length - 1; run.done++) {
        if (performance.now() > deadline) return false;
        const alphaBar = alphaBars[steps[run.done]], next = alphaBars[steps[run.done + 1]];
        const x0 = expectedX0(mixture, run.x, alphaBar), options = SAMPLERS[key][1];
        run.x = options
          ? reverseStep(options, run.x, x0, alphaBar, next, gaussians(run.x.length, 100 + run.done))
          : solverStep(run.x, x0, alphaBar, next, run.before);
        run.before = { logU: Math.log(alphaBar / (1 - alphaBar)) / 2, x0 };
      }
    }
    return true;
  }

  draw() {
    if (!this.advance()) { this.redraw(); return; } // the old view stays until the new one is ready
    const { num_steps, target } = this.settings, readings = {};
    for (const [key, run] of Object.entries(this.runs)) {
      [readings[key], readings.expected_distance] = distances(this.walk.mixture, run.x, 1);
    }
    this.fill(readings);
    this.sentence = `${num_steps} steps: distances ` +
      Object.entries(SAMPLERS).map(([key, [title]]) => `${title}: ${show(readings[key])}`).join("; ") + ".";
    for (const [key, [title]] of Object.entries(SAMPLERS)) {
      this.canvases[key].setAttribute("aria-label", `${POINTS} points after ${num_steps} steps of ${title}, on the target ${target}`);
      this.paint(this.canvases[key], this.runs[key].x);
    }
  }

  paint(canvas, x) {
    const ratio = devicePixelRatio, side = canvas.clientWidth, scale = side / 5.2, style = getComputedStyle(this);
    canvas.width = canvas.height = Math.round(side * ratio);
    const pen = canvas.getContext("2d"), { means, weights, deviation } = this.walk.mixture, cells = 52;
    pen.scale(ratio, ratio);
    const place = (value) => side / 2 + value * scale;
    pen.fillStyle = style.getPropertyValue("--blue");
    const density = Array.from({ length: cells * cells }, (_, i) => {
      const [across, height] = [i % cells, Math.floor(i / cells)].map((cell) => ((cell + 0.5) / cells - 0.5) * 5.2);
      return means.reduce((sum, mean, k) => sum + weights[k] *
        Math.exp(-((across - mean[0]) ** 2 + (height - mean[1]) ** 2) / (2 * deviation ** 2)), 0);
    });
    const most = density.reduce((a, b) => Math.max(a, b)), size = side / cells;
    density.forEach((value, i) => {
      pen.globalAlpha = 0.6 * Math.sqrt(value / most);
      pen.fillRect((i % cells) * size, side - (Math.floor(i / cells) + 1) * size, size + 0.5, size + 0.5);
    });
    pen.globalAlpha = 0.75;
    pen.fillStyle = style.getPropertyValue("--orange");
    for (let n = 0; n < POINTS; n++) {
      pen.beginPath();
      pen.arc(place(x[2 * n]), side - place(x[2 * n + 1]), 1.2, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.strokeRect(0.5, 0.5, side - 1, side - 1);
  }
}
