// <ddpm-denoiser>: a trained network that runs in the page, from noise to images, step by step.

const HOME = document.currentScript?.src; // models lie beside the script
const REDUCED = matchMedia("(prefers-reduced-motion: reduce)");
const MOMENTS = 200; // of a walk are kept to look back at
const OWN = "your own"; // model: a file that the reader opened

// The exported file in base64. It comes as a script: a page from file:// may fetch nothing else.
async function fileBesideThePage(name) {
  const script = make("script", { src: new URL(`models/${name}.js`, HOME).href });
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(`the file of the model ${name} could not be loaded`));
    document.head.append(script);
  }).finally(() => script.remove());
  const file = globalThis.ddpmModels[name];
  delete globalThis.ddpmModels[name];
  return file;
}

class Denoiser extends Explorer {
  static title = "A trained denoiser";
  static data = ["models"];
  static fields = {
    model: { value: "digits", choices: (self) => Object.keys(self.models) },
    sampler: { value: "ddim", choices: () => ["ddpm", "ddim", "dpm++"] },
    variance: { value: "beta", choices: () => ["beta", "posterior"] },
    eta: { value: 0, min: 0, max: 1 },
    num_steps: { value: 20, min: 1, max: 1000, whole: true },
    seed: { value: 0, min: 0, max: 2 ** 32 - 1 - 16, whole: true },
    images: { value: "4", choices: () => ["1", "4", "9"] },
    start: { value: "noise", choices: () => ["noise", "painting"] },
    strength: { value: 0.4, min: 0.05, max: 0.95 },
  };

  get models() { return this.parsed ??= JSON.parse(this.getAttribute("models")); } // by name: { bytes, channels }

  build() {
    const s = this.settings;
    this.workers = {};
    this.play = button("Denoise", "main", () => this.running ? this.stop() : this.run());
    this.one = button("One step", "", () => this.run(1));
    const another = button("Another seed", "", () => {
      this.change({ seed: this.read("seed", s.seed + Number(s.images)) });
      this.run();
    });
    const seed = make("input", { type: "number", min: 0, max: this.constructor.fields.seed.max, step: 1, "data-key": "seed" });
    seed.addEventListener("change", () => this.change({ seed: this.read("seed", seed.value) ?? s.seed }));
    this.controls.push(() => { seed.value = s.seed; });
    const variance = this.choices("variance", "Variance of the added noise", { beta: "σ² = β", posterior: "σ² = β̃" });
    const eta = this.slider("eta", "<i>η</i>", { values: Array.from({ length: 21 }, (_, i) => i / 20) });
    this.controls.push(() => { variance.hidden = s.sampler !== "ddpm"; eta.hidden = s.sampler !== "ddim"; });
    const file = make("input", { type: "file", accept: ".npz" }), own = make("label", { className: "open" }, file, "Your own…");
    own.title = "An .npz file of ddpm export. It stays on this machine.";
    file.addEventListener("change", () => file.files.length && this.open(file.files[0]));
    this.list = this.menu("model", "Model");
    this.paper = new Paper((error) => this.painted(error));
    const painting = make("figure", {}, this.paper.canvas, make("figcaption", {}, make("b", { textContent: "paint here" })));
    const picture = make("label", { className: "open" }, this.paper.file, "Picture…");
    picture.title = "A picture of yours. It stays on this machine.";
    const tools = make("header", {}, make("label", { className: "field" }, "pen ", this.paper.colour), this.paper.width,
      ...[["Blank", "blank"], ["Example", undefined]].map(([text, name]) => button(text, "", () => {
        this.paper.begin(name ?? this.example());
        this.paper.touched = true;
        this.painted();
      })), picture, this.slider("strength", "noise", {
        values: Array.from({ length: 19 }, (_, i) => (i + 1) / 20), text: (value) => `${Math.round(100 * value)} %`,
      }));
    this.controls.push(() => {
      painting.hidden = tools.hidden = s.start === "noise";
      this.stage.toggleAttribute("data-three", s.start !== "noise");
    });
    this.canvases = ["x", "x0"].map(() => make("canvas", { className: "square sharp", role: "img" }));
    this.captions = this.canvases.map(() => make("figcaption"));
    this.still = make("figure", { className: "still" });
    if (this.querySelector("img")) this.still.append(this.querySelector("img").cloneNode());
    this.stage = make("div", { className: "pair" }, painting,
      ...this.canvases.map((canvas, place) => make("figure", {}, canvas, this.captions[place])));
    this.back = make("input", { type: "range", min: 0, step: 1, "aria-label": "step looked at" });
    this.back.addEventListener("input", () => {
      this.stop();
      this.walk.shown = Number(this.back.value);
      this.redraw();
    });
    this.progress = make("progress", { "aria-label": "steps done", value: 0 });
    this.line = make("p", { className: "line" });
    this.card.append(
      make("header", {}, make("strong", { textContent: "A denoiser in the page" }), this.list, own, this.reset()),
      make("header", {}, this.choices("sampler", "Sampler", { ddpm: "DDPM", ddim: "DDIM", "dpm++": "DPM-Solver++" }), variance, eta,
        this.slider("num_steps", "steps", { values: [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000] })),
      make("header", {}, make("label", { className: "field" }, "seed ", seed), another, this.choices("images", "Number of images"),
        this.choices("start", "Where the walk begins", { noise: "from noise", painting: "from a painting" })),
      tools, this.still, this.stage,
      make("div", { className: "play" }, this.play, this.one, make("label", { className: "slider" }, "step", this.back)),
      this.progress, this.line, this.warning,
      make("p", { className: "hint" }, html(
        "Everything is computed in this page. Left is the image so far, right the network's guess of the clean image. The seeds " +
        "are those of <code>generate.py</code>: with the same settings seed 3 makes the same image there, but for rounding. " +
        "The file of the model is loaded when you press a button. A drawn face shows nobody.")),
    );
  }

  // Every setting begins a new walk.
  settle() {
    if (!this.paper.touched) this.paper.begin(this.example());
    this.stop();
    this.walk = undefined;
    this.warning.hidden = true;
    if (this.workers[this.settings.model]?.model) this.newWalk().catch((error) => this.refuse(error));
  }

  example() {
    const { model } = this.settings, { channels } = this.models[model];
    return channels === 1 ? "digit" : "head";
  }

  // The pen was lifted: finish the painting, if the model is there already.
  painted(error) {
    this.settle();
    if (error) this.refuse(new Error(error)); else if (this.workers[this.settings.model]?.model) this.run();
  }

  open(file) {
    this.file = file;
    if (!this.models[OWN]) this.list.append(make("option", { value: OWN, textContent: OWN }));
    this.models[OWN] = { bytes: file.size };
    this.workers[OWN]?.end();
    delete this.workers[OWN];
    this.change({ model: OWN });
    this.run();
  }

  async fileOf(model) {
    if (model === OWN) return this.file.arrayBuffer();
    return (this.askKernel ?? fileBesideThePage)(model);
  }

  // The worker that has the model, loaded once.
  async worker() {
    const { model } = this.settings;
    if (!this.workers[model]) {
      const worker = this.workers[model] = new ModelWorker();
      try {
        await worker.load(await this.fileOf(model));
      } catch (error) {
        delete this.workers[model];
        worker.end();
        throw error;
      }
    }
    return this.workers[model];
  }

  async newWalk() {
    const { model, sampler, variance, eta, num_steps, seed, images, start: first, strength } = this.settings, walk = this.walk = { asked: 0, moments: [] };
    const worker = walk.worker = await this.worker();
    if (this.walk !== walk) return;
    const seeds = Array.from({ length: Number(images) }, (_, i) => seed + i);
    const options = { sampler, variance, eta, seeds, num_steps: Math.min(num_steps, worker.model.num_steps) };
    if (first === "painting") options.begin = { picture: this.paper.values(worker.model.shape), strength };
    const start = await worker.ask("begin", { options });
    if (this.walk !== walk) return;
    Object.assign(walk, { name: model, count: start.count, shape: worker.model.shape, images: Math.sqrt(seeds.length) });
    this.keep(walk, { done: 0, ...start });
  }

  // Go on for some steps, from noise if there is no walk yet.
  async run(most = Infinity) {
    const turn = this.turn = {};
    this.running = true;
    this.play.textContent = "Stop";
    this.warning.hidden = true;
    if (this.walk?.newest?.done === this.walk?.count) this.walk = undefined; // it is at its end
    const began = performance.now();
    this.redraw();
    try {
      if (!this.walk?.newest) await this.newWalk();
      const { walk } = this;
      for (let taken = 0; taken < most && turn === this.turn && walk.asked < walk.count; taken++) {
        walk.asked++;
        const moment = await walk.worker.ask("step");
        if (walk !== this.walk) return;
        walk.seconds = (performance.now() - began) / 1000;
        this.keep(walk, moment);
      }
    } catch (error) {
      if (turn === this.turn) this.refuse(error);
    }
    if (turn === this.turn) this.stop();
  }

  keep(walk, { done, t, x, x0 }) {
    const pixels = (values) => values && Uint8ClampedArray.from(values, (value) => (value + 1) * 127.5); // rounds
    walk.newest = { done, t, x, x0 };
    if (done % Math.ceil(walk.count / MOMENTS) === 0 || done === walk.count) {
      walk.moments.push({ done, t, x: pixels(x), x0: pixels(x0) });
      walk.shown = walk.moments.length - 1;
    }
    this.redraw();
    if (!this.running) this.tellSoon(); // a step that was under way when the walk was stopped
  }

  tellSoon() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.tell(), 400);
  }

  refuse(error) {
    this.warning.textContent = error.message;
    this.warning.hidden = false;
    this.walk = undefined;
    this.redraw();
  }

  stop() {
    const ran = this.running;
    this.running = this.turn = undefined;
    this.play.textContent = "Denoise";
    if (!ran) return;
    this.redraw();
    this.tellSoon();
  }

  draw() {
    const { walk } = this, moments = walk?.moments ?? [], moment = moments[walk?.shown];
    const painting = this.settings.start === "painting";
    this.stage.hidden = !moment && !painting;
    this.still.hidden = Boolean(moment) || painting;
    for (const canvas of this.canvases) canvas.parentNode.hidden = !moment;
    this.back.disabled = moments.length < 2;
    this.back.max = Math.max(moments.length - 1, 0);
    this.back.value = walk?.shown ?? 0;
    this.progress.max = walk?.count ?? 1;
    this.progress.value = walk?.newest?.done ?? 0;
    if (!moment) {
      const { model } = this.settings, megabytes = (4 / 3 * this.models[model].bytes / 1e6).toFixed(1);
      this.line.textContent = this.running ? `loading ${model}` : `The model ${model} has not been loaded: ${megabytes} MB.`;
      this.sentence = this.line.textContent;
      return;
    }
    const { done, t } = moment;
    this.back.setAttribute("aria-valuetext", `step ${done} of ${walk.count}, t ${t}`);
    this.readings = { done, count: walk.count, t };
    this.line.textContent = `step ${done} of ${walk.count}${walk.seconds ? `, ${walk.seconds.toFixed(1)} s` : ""}`;
    this.sentence = `${walk.name}: step ${done} of ${walk.count}, t ${t}.`;
    this.captions[0].replaceChildren(html(`<b><i>x<sub>t</sub></i></b>, <i>t</i> = ${t}`));
    this.captions[1].replaceChildren(html("<b>predicted <i>x</i><sub>0</sub></b>"));
    if (REDUCED.matches && this.running && done > 0) return; // with less motion, the images where it stops
    this.paint(this.canvases[0], moment.x, walk, `Images of ${walk.name} after ${done} of ${walk.count} steps`);
    this.paint(this.canvases[1], moment.x0, walk, "The network's guess of the clean images");
  }

  // Images of one size, row by row, a pixel apart.
  paint(canvas, pixels, { shape: [size, , channels], images }, label) {
    const side = images * (size + 1) - 1, picture = new ImageData(side, side);
    for (let i = 0; pixels && i < pixels.length / channels; i++) {
      const image = Math.floor(i / size / size), row = Math.floor(image / images) * (size + 1) + Math.floor(i / size) % size;
      const at = 4 * (row * side + image % images * (size + 1) + i % size);
      for (let c = 0; c < 3; c++) picture.data[at + c] = pixels[i * channels + (channels === 3 ? c : 0)];
      picture.data[at + 3] = 255;
    }
    canvas.width = canvas.height = side;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    canvas.setAttribute("aria-label", label);
  }
}
