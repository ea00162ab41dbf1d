// <ddpm-schedule-explorer>: the noise schedule, its curves, and a picture in its noise.

const decades = (low, high, mantissas) => {
  const values = [];
  for (let power = low; power < high; power++) for (const m of mantissas) values.push(Number(`${m}e${power}`));
  return [...values, Number(`1e${high}`)];
};
const FINE = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
const SIDE = 64, STRIP = 8;

function checkerboard() {
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  for (let i = 0; i < SIDE * SIDE; i++) {
    pixels.fill(((i >> 3) + (i >> 9)) % 2 ? 255 : 0, 3 * i, 3 * i + 3);
  }
  return pixels;
}

class ScheduleExplorer extends Explorer {
  static title = "Schedule explorer";
  static data = ["pictures"];
  static fields = {
    kind: { value: "linear", choices: () => KINDS },
    picture: { value: "checkerboard", choices: (self) => Object.keys(self.pictures) },
    num_steps: { value: 1000, min: 2, max: 4000, whole: true },
    t: { value: 250, min: 1, max: 4000, whole: true },
    beta_start: { value: 1e-4, min: 1e-6, max: 0.5 },
    beta_end: { value: 0.02, min: 1e-6, max: 0.999 },
  };

  get pictures() {
    if (!this.decoded) {
      this.decoded = {};
      for (const [name, text] of Object.entries(JSON.parse(this.getAttribute("pictures") || "{}"))) {
        this.decoded[name] = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      }
      this.decoded.checkerboard = checkerboard();
    }
    return this.decoded;
  }

  build() {
    this.noise = gaussians(SIDE * SIDE * 3, 0); // drawn once: only the settings change the picture
    const linear = () => this.settings.kind !== "linear";
    const caption = (text) => make("figcaption", {}, html(text));
    this.canvas = make("canvas", { className: "sharp", width: SIDE, height: SIDE, role: "img" });
    this.caption = make("figcaption");
    this.charts = ["beta", "alpha_bar", "snr", "posterior"].map(() => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("aria-hidden", "true"); // the numbers below say it in words
      const drag = (event) => {
        const { left, width } = svg.getBoundingClientRect();
        const share = (event.clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
        this.change({ t: this.read("t", 1 + share * (this.settings.num_steps - 1)) });
      };
      svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); drag(event); });
      svg.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
      return svg;
    });
    const captions = [
      "<b><i>β<sub>t</sub></i></b> noise added",
      "<b><i>ᾱ<sub>t</sub></i></b> signal kept",
      "<b>SNR</b> signal to noise, log",
      "<b><i>β̃<sub>t</sub></i></b> posterior var., log",
    ];
    this.thumbnails = Array.from({ length: STRIP }, (_, place) => {
      const canvas = make("canvas", { width: SIDE, height: SIDE }), label = make("figcaption");
      const figure = make("figure", {}, canvas, label);
      figure.addEventListener("click", () => this.change({ t: Math.max(1, this.stripStep(place)) }));
      return { canvas, label, figure };
    });
    this.card.append(
      make("header", {}, make("strong", { textContent: "Noise schedule" }), this.choices("kind", "Schedule"),
        this.menu("picture", "Picture"), this.reset()),
      make("div", { className: "view" },
        make("figure", { className: "picture" }, this.canvas, this.caption),
        make("div", { className: "charts" },
          ...this.charts.map((svg, i) => make("figure", {}, caption(captions[i]), svg))),
      make("div", { className: "strip", "aria-hidden": "true" }, ...this.thumbnails.map(({ figure }) => figure)),
      make("div", { className: "sliders" },
        this.slider("t", "step <i>t</i>", { most: () => this.settings.num_steps }),
        this.slider("num_steps", "steps <i>T</i>", { values: [10, 20, 50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000] }),
        this.slider("beta_start", "<i>β</i><sub>1</sub> start", { values: decades(-5, -2, FINE), off: linear }),
        this.slider("beta_end", "<i>β<sub>T</sub></i> end", { values: [...decades(-3, -1, FINE), 0.15, 0.2, 0.3, 0.5], off: linear })),
      this.table({
        beta: "<i>β<sub>t</sub></i>", alpha_bar: "<i>ᾱ<sub>t</sub></i>", snr: "SNR",
        posterior_variance: "<i>β̃<sub>t</sub></i>", terminal_alpha_bar: "<i>ᾱ<sub>T</sub></i>",
        prior_kl: "KL, bits/dim",
      })),
      this.warning,
      make("p", { className: "hint" }, html(
        "Look for: where the picture disappears, and whether <i>ᾱ<sub>T</sub></i> and KL end near 0. " +
        "KL is between <i>q</i>(<i>x<sub>T</sub></i> | <i>x</i><sub>0</sub>) and the normal prior, for this picture. The noise never changes. " +
        "Grey: the curve you started from; dashed: <i>β<sub>t</sub></i>. Drag in a curve to move <i>t</i>.")),
    );
    this.origin = schedule(this.initial);
  }

  // T keeps the place of t along the way, so that the pictures stay comparable.
  settle(values) {
    const s = this.settings;
    if (values.num_steps && this.total && values.t === undefined) s.t = Math.round(s.t / this.total * s.num_steps);
    this.total = s.num_steps;
    s.t = Math.min(Math.max(s.t, 1), s.num_steps);
  }

  stripStep(place) { return Math.round(this.settings.num_steps * place / (STRIP - 1)); }

  paint(canvas, pixels, alphaBar) {
    const signal = Math.sqrt(alphaBar) / 127.5, spread = Math.sqrt(1 - alphaBar), offset = Math.sqrt(alphaBar);
    const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE);
    for (let i = 0, from = 0; i < image.data.length; i += 4) {
      for (let c = 0; c < 3; c++, from++) {
        image.data[i + c] = (signal * pixels[from] - offset + spread * this.noise[from] + 1) * 127.5; // clamped
      }
      image.data[i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  draw() {
    const s = this.settings, T = s.num_steps, i = s.t - 1, pixels = this.pictures[s.picture];
    const tables = schedule(s), { betas, alphaBars, posteriorVariances, snr } = tables;
    let squares = 0;
    for (const value of pixels) squares += (value / 127.5 - 1) ** 2;
    const terminal = alphaBars[T - 1];
    this.fill({
      beta: betas[i], alpha_bar: alphaBars[i], snr: snr[i], posterior_variance: posteriorVariances[i],
      terminal_alpha_bar: terminal, prior_kl: priorKL(terminal, squares / pixels.length),
    });
    const { readings } = this;

    this.warning.hidden = terminal <= TERMINAL_ALPHA_BAR_LIMIT;
    const share = (100 * Math.sqrt(terminal)).toPrecision(2);
    this.warning.textContent = this.warning.hidden ? "" :
      `ᾱ at T is ${show(terminal)}: ${share} % of the picture's amplitude is left in x at T, but sampling starts from pure ` +
      `noise. Raise ${s.kind === "linear" ? "T or β at T" : "T"}.`;
    this.sentence = `${s.kind}, t ${s.t} of ${T}: beta ${show(readings.beta)}, alpha bar ${show(readings.alpha_bar)}, ` +
      `signal to noise ${show(readings.snr)}, KL to the prior ${show(readings.prior_kl)} bits per dimension. ` +
      this.warning.textContent;

    // The axis holds all but the last steps: a cosine schedule ends in a spike of 0.999.
    const usual = Math.max(betas[0], betas[Math.floor(0.97 * (T - 1))]);
    const top = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].find((limit) => usual <= limit);
    const log = (table) => table.map((value) => Math.log10(value));
    const power = (exponent) => [exponent, `1e${exponent}`];
    const now = i / Math.max(T - 1, 1);
    const same = Object.keys(s).every((key) => ["t", "picture"].includes(key) || s[key] === this.initial[key]);
    const old = (table) => same ? [] : [["start", table]];
    const plot = (at, low, high, ticks, curves) => chart(this.charts[at], { low, high, ticks, curves, now, T });
    plot(0, 0, top, [[0, "0"], [top, `${top}`]], [...old(this.origin.betas), ["curve", betas]]);
    plot(1, 0, 1, [[0, "0"], [1, "1"]], [...old(this.origin.alphaBars), ["curve", alphaBars]]);
    plot(2, -9, 5, [power(-8), power(-4), [0, "1"], power(4)], [...old(log(this.origin.snr)), ["curve", log(snr)]]);
    plot(3, -7, 0, [power(-6), power(-3), [0, "1"]],
      [...old(log(this.origin.posteriorVariances)), ["dashed", log(betas)], ["curve", log(posteriorVariances)]]);

    this.paint(this.canvas, pixels, alphaBars[i]);
    this.canvas.setAttribute("aria-label", `The picture ${s.picture} with the noise of step ${s.t}`);
    this.caption.replaceChildren(html(
      `<b><i>x<sub>t</sub></i></b> = ${Math.sqrt(alphaBars[i]).toFixed(3)} <i>x</i><sub>0</sub> + ` +
      `${Math.sqrt(1 - alphaBars[i]).toFixed(3)} <i>ε</i>`));
    const nearest = Math.round(s.t / T * (STRIP - 1));
    this.thumbnails.forEach(({ canvas, label, figure }, place) => {
      const step = this.stripStep(place);
      this.paint(canvas, pixels, step ? alphaBars[step - 1] : 1);
      label.textContent = step;
      figure.classList.toggle("near", place === nearest);
    });
  }
}

const MARGIN = { left: 34, right: 6, top: 6, bottom: 17 };

function chart(svg, { low, high, ticks, curves, now, T }) {
  const width = svg.clientWidth, height = svg.clientHeight;
  const across = width - MARGIN.left - MARGIN.right, down = height - MARGIN.top - MARGIN.bottom;
  const y = (value) => (high - value) / (high - low) * down;
  const stride = (table) => Math.max(1, Math.floor(table.length / across));
  const path = (table) => {
    let d = "", pen = "M";
    const last = table.length - 1;
    for (let i = 0; i <= last; i = i === last ? i + 1 : Math.min(i + stride(table), last)) {
      if (!Number.isFinite(table[i])) { pen = "M"; continue; } // log of 0
      d += `${pen}${(i / Math.max(last, 1) * across).toFixed(1)},${Math.min(y(table[i]), 9 * down).toFixed(1)}`;
      pen = "L";
    }
    return d;
  };
  const main = curves[curves.length - 1][1], value = main[Math.round(now * (main.length - 1))];
  const dot = Number.isFinite(value) && value >= low && value <= high;
  svg.innerHTML =
    ticks.map(([at, text]) => `<text x="${MARGIN.left - 5}" y="${MARGIN.top + y(at) + 4}" text-anchor="end">${text}</text>` +
      `<line class="guide" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${MARGIN.top + y(at)}" y2="${MARGIN.top + y(at)}"/>`).join("") +
    `<rect class="frame" x="${MARGIN.left}" y="${MARGIN.top}" width="${across}" height="${down}"/>` +
    `<text x="${MARGIN.left}" y="${height - 3}">1</text><text x="${width - MARGIN.right}" y="${height - 3}" text-anchor="end">${T}</text>` +
    `<svg x="${MARGIN.left}" y="${MARGIN.top}" width="${across}" height="${down}" style="overflow:hidden;width:${across}px;height:${down}px">` +
    curves.map(([name, table]) => `<path class="${name}" d="${path(table)}"/>`).join("") + "</svg>" +
    `<g transform="translate(${MARGIN.left},${MARGIN.top})"><line class="now" x1="${now * across}" x2="${now * across}" y1="0" y2="${down}"/>` +
    (dot ? `<circle class="dot" cx="${now * across}" cy="${y(value)}" r="4.5"/>` : "") + "</g>";
}
