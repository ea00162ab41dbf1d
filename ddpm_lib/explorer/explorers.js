// The two explorers, as custom elements: <ddpm-schedule-explorer> and <ddpm-reverse-explorer>.
// A page loads this file as a classic script, which also works from file://. A notebook gets the same text as a module
// (see widgets.py). Everything is computed here; the numbers are those of ddpm_lib.schedules and mixture.py.
globalThis.ddpmExplorers ??= (() => {
  "use strict";
  // Only a classic script has a current script: the address belongs to our own pages, never to a notebook's.
  const ownPage = Boolean(document.currentScript);
  const KINDS = ["linear", "cosine", "sigmoid"];
  const PREFERENCE = matchMedia("(prefers-color-scheme: dark)");
  const TERMINAL_ALPHA_BAR_LIMIT = 1e-3;

  // ---- Numbers -----------------------------------------------------------------------------------------------------

  function betaTable({ kind, num_steps: T, beta_start, beta_end }) {
    const betas = new Float64Array(T);
    if (kind === "linear") {
      const step = (beta_end - beta_start) / Math.max(T - 1, 1);
      for (let i = 0; i < T; i++) betas[i] = i === T - 1 && T > 1 ? beta_end : beta_start + i * step;
      return betas;
    }
    let curve; // alpha_bar as a function of progress 0..1, up to a common factor
    if (kind === "cosine") {
      curve = (progress) => Math.cos(((progress + 0.008) / 1.008) * Math.PI / 2) ** 2;
    } else {
      const falling = (argument) => 1 / (1 + Math.exp(argument));
      const first = falling(-3), last = falling(3);
      curve = (progress, i) => (falling(i === T ? 3 : -3 + i * (6 / T)) - last) / (first - last);
    }
    let before = curve(0, 0);
    for (let i = 0; i < T; i++) {
      const after = curve(i + 1 === T ? 1 : (i + 1) * (1 / T), i + 1);
      betas[i] = Math.min(1 - after / before, 0.999);
      before = after;
    }
    return betas;
  }

  function schedule(settings) {
    const betas = betaTable(settings), T = betas.length;
    const alphaBars = new Float64Array(T), posteriorVariances = new Float64Array(T), snr = new Float64Array(T);
    let before = 1;
    for (let i = 0; i < T; i++) {
      alphaBars[i] = before * (1 - betas[i]);
      posteriorVariances[i] = betas[i] * (1 - before) / (1 - alphaBars[i]);
      snr[i] = alphaBars[i] / (1 - alphaBars[i]);
      before = alphaBars[i];
    }
    return { betas, alphaBars, posteriorVariances, snr };
  }

  // KL(q(x_T | x_0) || N(0, I)) in bits per dimension: prior_kl in numbers.py has the formula.
  const priorKL = (alphaBar, meanSquare) =>
    (alphaBar * (meanSquare - 1) - Math.log1p(-alphaBar)) / (2 * Math.LN2);

  function uniforms(seed) { // mulberry32
    let state = Math.imul(seed + 1, 0x9e3779b1);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let bits = Math.imul(state ^ (state >>> 15), 1 | state);
      bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
      return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  function gaussians(count, seed) { // Box-Muller
    const uniform = uniforms(seed), values = new Float64Array(count + 1);
    for (let i = 0; i < count; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
      values[i] = radius * Math.cos(angle);
      values[i + 1] = radius * Math.sin(angle);
    }
    return values.subarray(0, count);
  }

  // ---- What both explorers share -----------------------------------------------------------------------------------

  const show = (value) => Number.isInteger(value) && Math.abs(value) < 1e4 ? String(value)
    : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? value.toExponential(3) : value.toPrecision(4);

  function make(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node) node[name] = value; else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  const html = (text) => document.createRange().createContextualFragment(text);

  function isDark() {
    const root = document.documentElement, body = document.body?.dataset ?? {};
    const named = root.dataset.theme ?? root.getAttribute("theme"); // the book; Colab
    if (named === "dark" || named === "light") return named === "dark";
    if (body.jpThemeLight) return body.jpThemeLight === "false"; // JupyterLab
    if (body.vscodeThemeKind) return body.vscodeThemeKind.includes("dark");
    return PREFERENCE.matches;
  }

  const STYLE = `
:host { display: block; margin: 1.25rem 0; container-type: inline-size; color-scheme: light;
  --paper: #fff; --ink: #1c2530; --soft: #5a6675; --line: #d5dbe2; --fill: #f3f5f8;
  --blue: #0067a8; --orange: #b84a00; --warn: #fff4e5; }
:host([dark]) { color-scheme: dark; --paper: #161b22; --ink: #e6ebf1; --soft: #a3afbd; --line: #39424e; --fill: #212933;
  --blue: #62b8f5; --orange: #f5a04e; --warn: #3a2a14; }
* { box-sizing: border-box; }
.card { background: var(--paper); color: var(--ink); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; gap: 8px 12px; align-items: center; flex-wrap: wrap; margin-bottom: 12px; }
header strong { font-size: 15px; flex: 1; min-width: 60%; }
i { font-family: "STIX Two Math", Cambria, Georgia, serif; font-size: 1.06em; }
sub { font-size: .72em; line-height: 0; }
button, select { font: inherit; color: inherit; background: var(--fill); border: 1px solid var(--line); border-radius: 6px;
  padding: 3px 10px; min-height: 30px; cursor: pointer; }
button:hover, select:hover { border-color: var(--soft); }
button.main { background: var(--blue); border-color: var(--blue); color: var(--paper); min-width: 84px; font-weight: 600; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
fieldset { border: 0; margin: 0; padding: 0; display: flex; }
legend { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.choice { position: relative; }
.choice input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
.choice span { display: block; padding: 3px 11px; border: 1px solid var(--line); margin-left: -1px; background: var(--fill);
  min-height: 30px; }
.choice:first-of-type span { border-radius: 6px 0 0 6px; margin-left: 0; }
.choice:last-of-type span { border-radius: 0 6px 6px 0; }
.choice :checked + span { background: var(--blue); border-color: var(--blue); color: var(--paper); }
.choice :focus-visible + span { outline: 2px solid var(--blue); outline-offset: 2px; }
.sliders { display: grid; gap: 4px 28px; margin: 12px 0; }
.slider { display: grid; grid-template-columns: 92px 1fr 62px; gap: 10px; align-items: center; min-height: 30px; }
.slider output { text-align: right; }
header strong { order: -2; }
header > button { order: -1; }
.slider[data-off] { opacity: .55; }
input[type=range] { width: 100%; margin: 0; accent-color: var(--blue); min-height: 24px; cursor: pointer; }
select, button, .choice span, input[type=range] { touch-action: manipulation; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: 12.5px; white-space: nowrap; }
figcaption b { color: var(--ink); font-weight: 600; }
svg { display: block; width: 100%; height: 112px; cursor: ew-resize; touch-action: pan-y; overflow: visible; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
.frame { fill: none; stroke: var(--line); }
.guide { stroke: var(--line); stroke-dasharray: 2 3; }
.curve { fill: none; stroke: var(--blue); stroke-width: 2; stroke-linejoin: round; }
.start { fill: none; stroke: var(--soft); stroke-width: 1; opacity: .75; }
.dashed { fill: none; stroke: var(--orange); stroke-width: 1.5; stroke-dasharray: 4 3; }
.now { stroke: var(--ink); stroke-width: 1; }
.dot { fill: var(--orange); stroke: var(--paper); stroke-width: 1.5; }
canvas { display: block; width: 100%; border-radius: 4px; }
.sharp { image-rendering: pixelated; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)); gap: 4px 10px; margin: 12px 0; }
dt { color: var(--soft); font-size: 12.5px; height: 20px; line-height: 20px; white-space: nowrap; }
dd { margin: 0; font-weight: 600; }
p { margin: 10px 0 0; }
.warn { background: var(--warn); border-left: 3px solid var(--orange); border-radius: 4px; padding: 6px 10px; }
.hint { color: var(--soft); font-size: 13px; }
.said { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; white-space: nowrap; }
.view { display: grid; gap: 12px 18px; grid-template: "picture table" "sliders sliders" "charts charts" "strip strip" / 128px minmax(0, 1fr); }
.charts { display: grid; gap: 10px 14px; grid-template-columns: 1fr 1fr; }
.picture { grid-area: picture; }
.view .charts { grid-area: charts; }
.view .sliders { grid-area: sliders; margin: 0; }
.view dl { grid-area: table; margin: 0; align-content: start; }
.strip { grid-area: strip; display: grid; grid-template-columns: repeat(8, 1fr); gap: 4px; cursor: pointer; text-align: center; }
.strip .near canvas { outline: 2px solid var(--orange); outline-offset: 1px; }
.stage { height: 300px; border-radius: 4px; }
.play { display: flex; gap: 8px; align-items: center; margin-top: 10px; }
.play { flex-wrap: wrap; }
.play .slider { flex: 1 1 240px; grid-template-columns: auto 1fr 84px; }
.wide { grid-template-columns: 1fr 1fr; }
header .slider { flex: 1 1 190px; grid-template-columns: auto 1fr 40px; }
[hidden] { display: none !important; }
@container (min-width: 600px) {
  .view { grid-template: "picture charts" "strip strip" "sliders sliders" "table table" / 208px minmax(0, 1fr); }
  dl { grid-template-columns: repeat(6, auto); justify-content: space-between; }
  .wide { grid-template-columns: repeat(4, auto); }
  .sliders { grid-template-columns: 1fr 1fr; }
  header > button { order: 1; }
  header strong { min-width: 0; }
  .strip { gap: 8px; }
  .stage { height: 340px; }
}
@media print { button, .sliders, .play { display: none; } }
`;

  class Explorer extends HTMLElement {
    // JupyterLab takes an element out of the page and puts it back as one scrolls.
    connectedCallback() {
      if (!this.shadowRoot) this.begin();
      this.repaint ??= () => { this.toggleAttribute("dark", isDark()); this.redraw(); };
      this.theme = new MutationObserver(this.repaint);
      this.theme.observe(document.documentElement, { attributeFilter: ["data-theme", "theme"] });
      if (document.body) this.theme.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
      this.size = new ResizeObserver(() => this.redraw());
      this.size.observe(this.card);
      PREFERENCE.addEventListener("change", this.repaint);
      this.repaint();
    }

    disconnectedCallback() {
      this.theme.disconnect();
      this.size.disconnect();
      PREFERENCE.removeEventListener("change", this.repaint);
    }

    begin() {
      this.initial = {};
      for (const [key, field] of Object.entries(this.constructor.fields)) {
        this.initial[key] = this.read(key, this.getAttribute(key)) ?? field.value;
      }
      const names = [...document.querySelectorAll(`${this.localName}[name="${this.getAttribute("name")}"]`)];
      const place = names.indexOf(this);
      this.own = `${this.getAttribute("name")}${place > 0 ? place + 1 : ""}.`;
      this.settings = { ...this.initial };
      if (ownPage) {
        for (const [key, text] of new URLSearchParams(location.search)) {
          if (!key.startsWith(this.own)) continue;
          const name = key.slice(this.own.length), value = this.read(name, text);
          if (value !== undefined) this.settings[name] = value;
        }
      }
      this.readings = {}; // the numbers shown, unrounded
      this.controls = [];
      this.said = make("p", { className: "said", role: "status" });
      this.warning = make("p", { className: "warn", hidden: true });
      this.card = make("div", { className: "card", role: "group", "aria-label": this.constructor.title });
      this.attachShadow({ mode: "open" }).append(make("style", { textContent: STYLE }), this.card);
      this.build();
      this.card.append(this.said);
      if (ownPage) this.card.querySelector(".hint").append(" Copy the page's address to share the setting.");
      this.change({});
    }

    // A setting from text or a number; undefined where there is none or it makes no sense.
    read(key, given) {
      const field = this.constructor.fields[key];
      if (!field || given === null || given === "") return undefined;
      if (field.choices) return field.choices(this).includes(given) ? given : undefined;
      const number = Number(given);
      if (!Number.isFinite(number)) return undefined;
      const inside = Math.min(Math.max(number, field.min), field.max);
      return field.whole ? Math.round(inside) : inside;
    }

    change(values) {
      Object.assign(this.settings, values);
      this.settle(values);
      for (const control of this.controls) control();
      this.redraw();
      clearTimeout(this.later);
      this.later = setTimeout(() => this.tell(), 400);
    }

    // Once the sliders rest: the address, the screen reader, and the notebook's kernel learn of it.
    tell() {
      if (ownPage) {
        const address = new URL(location.href);
        for (const [key, value] of Object.entries(this.settings)) {
          if (value === this.initial[key]) address.searchParams.delete(this.own + key);
          else address.searchParams.set(this.own + key, value);
        }
        if (address.href !== location.href) history.replaceState(history.state, "", address);
      }
      if (this.spoken !== this.sentence) this.said.textContent = this.spoken = this.sentence;
      this.dispatchEvent(new CustomEvent("settings", { detail: { ...this.settings } }));
    }

    redraw() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        if (this.card.clientWidth) this.draw();
        this.spoken ??= this.sentence;
      });
    }

    // `values` makes a slider of positions in a list; without it the slider runs over whole numbers.
    slider(key, label, { values, most, off = () => false, text = String } = {}) {
      const field = this.constructor.fields[key];
      if (values && !values.includes(this.settings[key])) values = [...values, this.settings[key]].sort((a, b) => a - b);
      const input = make("input", { type: "range", step: 1, min: values ? 0 : field.min, "data-key": key });
      const output = make("output");
      const row = make("label", { className: "slider" }, make("span", {}, html(label)), input, output);
      input.addEventListener("input", () => this.change({ [key]: values ? values[input.value] : Number(input.value) }));
      this.controls.push(() => {
        const value = this.settings[key];
        if (values && !values.includes(value)) values = [...values, value].sort((a, b) => a - b);
        input.max = values ? values.length - 1 : most?.() ?? field.max;
        input.value = values ? values.indexOf(value) : value;
        output.textContent = text(value);
        input.setAttribute("aria-valuetext", text(value));
        input.disabled = off();
        row.toggleAttribute("data-off", input.disabled);
      });
      return row;
    }

    choices(key, legend, labels = {}) {
      const group = make("fieldset", {}, make("legend", { textContent: legend }));
      for (const value of this.constructor.fields[key].choices(this)) {
        const input = make("input", { type: "radio", name: key, value, "data-key": key });
        input.addEventListener("change", () => this.change({ [key]: value }));
        this.controls.push(() => { input.checked = this.settings[key] === value; });
        group.append(make("label", { className: "choice" }, input, make("span", { textContent: labels[value] ?? value })));
      }
      return group;
    }

    menu(key, label) {
      const options = this.constructor.fields[key].choices(this).map((value) => make("option", { value, textContent: value }));
      const menu = make("select", { "aria-label": label, "data-key": key }, ...options);
      menu.addEventListener("change", () => this.change({ [key]: menu.value }));
      this.controls.push(() => { menu.value = this.settings[key]; });
      return menu;
    }

    reset() {
      const button = make("button", { type: "button", textContent: "Reset" });
      button.addEventListener("click", () => { this.stop?.(); this.change(this.initial); });
      return button;
    }

    table(rows, className = "") {
      this.cells = {};
      return make("dl", { className }, ...Object.entries(rows).map(([key, label]) => {
        this.cells[key] = make("dd", { "data-reading": key });
        return make("div", {}, make("dt", {}, html(label)), this.cells[key]);
      }));
    }

    fill(readings) {
      this.readings = readings;
      for (const [key, cell] of Object.entries(this.cells)) cell.textContent = show(readings[key]);
    }
  }

  // ---- The schedule explorer ---------------------------------------------------------------------------------------

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

  // ---- The exact reverse process of a mixture ------------------------------------------------------------------------
  // A mixture is { means: [[...], ...], weights: [...], deviation }, as in mixture.py, where the formulas are.

  function spread({ deviation }, alphaBar) { return alphaBar * deviation ** 2 + 1 - alphaBar; }

  // E[x_0 | x_t] for points laid out one after another.
  function expectedX0(mixture, x, alphaBar) {
    const { means, weights, deviation } = mixture, dims = means[0].length, root = Math.sqrt(alphaBar);
    const variance = spread(mixture, alphaBar), pull = root * deviation ** 2 / variance;
    const logs = weights.map(Math.log), shares = new Float64Array(means.length), result = new Float64Array(x.length);
    for (let at = 0; at < x.length; at += dims) {
      let best = -Infinity, total = 0;
      for (let k = 0; k < means.length; k++) {
        let squares = 0;
        for (let d = 0; d < dims; d++) squares += (x[at + d] - root * means[k][d]) ** 2;
        shares[k] = logs[k] - squares / (2 * variance);
        best = Math.max(best, shares[k]);
      }
      for (let k = 0; k < means.length; k++) {
        shares[k] = Math.exp(shares[k] - best);
        total += shares[k];
        for (let d = 0; d < dims; d++) result[at + d] += shares[k] * (means[k][d] + pull * (x[at + d] - root * means[k][d]));
      }
      for (let d = 0; d < dims; d++) result[at + d] /= total;
    }
    return result;
  }

  // One step of ddpm_sample or ddim_sample in ddpm_lib.sampling, without clipping.
  function reverseStep({ sampler, variance, eta }, x, x0, alphaBar, next, noise) {
    const beta = 1 - alphaBar / next, posterior = beta * (1 - next) / (1 - alphaBar);
    if (sampler === "ddpm") {
      const weightX0 = Math.sqrt(next) * beta / (1 - alphaBar), weightX = Math.sqrt(1 - beta) * (1 - next) / (1 - alphaBar);
      const sigma = next === 1 ? 0 : Math.sqrt(variance === "beta" ? beta : posterior);
      return x.map((value, i) => weightX0 * x0[i] + weightX * value + sigma * noise[i]);
    }
    const sigma = eta * Math.sqrt(posterior), toward = Math.sqrt(Math.max(1 - next - sigma ** 2, 0));
    return x.map((value, i) => {
      const predicted = (value - Math.sqrt(alphaBar) * x0[i]) / Math.sqrt(1 - alphaBar);
      return Math.sqrt(next) * x0[i] + toward * predicted + sigma * noise[i];
    });
  }

  // The steps visited, as the paper's t, from T down to 0: timestep_subsequence with trailing spacing.
  function visitedSteps(T, count) {
    const halfToEven = (value) => {
      const up = Math.round(value);
      return up - value === 0.5 && up % 2 ? up - 1 : up;
    };
    return Array.from({ length: count + 1 }, (_, i) => halfToEven(T * (count - i) / count));
  }

  function marginal({ means, weights, deviation }, alphaBar, direction) { // of q(x_t) along a unit vector
    const variance = spread({ deviation }, alphaBar), scale = 1 / Math.sqrt(2 * Math.PI * variance);
    const centres = means.map((mean) => Math.sqrt(alphaBar) * mean.reduce((sum, value, d) => sum + value * direction[d], 0));
    return (value) => {
      let density = 0;
      for (let k = 0; k < centres.length; k++) {
        density += weights[k] * scale * Math.exp(-((value - centres[k]) ** 2) / (2 * variance));
      }
      return density;
    };
  }

  const DIRECTIONS = {
    1: [[1]],
    2: Array.from({ length: 8 }, (_, i) => [Math.cos(Math.PI * i / 8), Math.sin(Math.PI * i / 8)]),
  };
  const GRID = Float64Array.from({ length: 501 }, (_, i) => -5 + i * 0.02);

  // The Wasserstein-1 distance of points from q(x_t), and what to expect of an exact sample of as many points:
  // Mixture.distance and Mixture.expected_distance have the definitions.
  function distances(mixture, points, alphaBar) {
    const dims = mixture.means[0].length, count = points.length / dims, directions = DIRECTIONS[dims];
    let found = 0, expected = 0;
    for (const direction of directions) {
      const density = Array.from(GRID, marginal(mixture, alphaBar, direction)), line = new Float64Array(count);
      for (let i = 0; i < points.length; i++) line[Math.floor(i / dims)] += points[i] * direction[i % dims];
      line.sort();
      let below = 0, cumulative = 0;
      for (let g = 0; g < GRID.length; g++) {
        if (g) cumulative += 0.01 * (density[g - 1] + density[g]);
        while (below < count && line[below] <= GRID[g]) below++;
        found += 0.02 * Math.abs(below / count - cumulative);
        expected += 0.02 * Math.sqrt(2 * Math.max(cumulative * (1 - cumulative), 0) / (Math.PI * count));
      }
    }
    return [found / directions.length, expected / directions.length];
  }

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
      const button = (text, className, act) => {
        const node = make("button", { type: "button", textContent: text, className });
        node.addEventListener("click", act);
        return node;
      };
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

  const ELEMENTS = { "ddpm-schedule-explorer": ScheduleExplorer, "ddpm-reverse-explorer": ReverseExplorer };
  for (const [tag, type] of Object.entries(ELEMENTS)) if (!customElements.get(tag)) customElements.define(tag, type);

  // For anywidget: the element, with its settings tied to the traits of the same names.
  const widget = (tag) => ({
    render({ model, el }) {
      const element = document.createElement(tag), keys = Object.keys(ELEMENTS[tag].fields);
      for (const name of ELEMENTS[tag].data) element.setAttribute(name, JSON.stringify(model.get(name)));
      for (const key of keys) element.setAttribute(key, model.get(key));
      element.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would take the arrow keys
      element.addEventListener("settings", ({ detail }) => {
        const changed = keys.filter((key) => model.get(key) !== detail[key]);
        for (const key of changed) model.set(key, detail[key]);
        if (changed.length) model.save_changes();
      });
      for (const key of keys) model.on(`change:${key}`, () => {
        if (model.get(key) !== element.settings?.[key]) element.change({ [key]: model.get(key) });
      });
      el.append(element);
    },
  });

  return { schedule, priorKL, gaussians, expectedX0, reverseStep, visitedSteps, distances, widget };
})();
