// <ddpm-training-explorer>: the reader draws points, and small networks learn them in the page, one for each target.

const LESSON_TARGETS = { x_0: "x₀", noise: "noise", v: "v" };
const CHUNK = 10; // steps of training for one question to the worker

class TrainingExplorer extends Explorer {
  static title = "Training in the page";
  static data = ["shapes"];
  static fields = {
    shape: { value: "moons", choices: (self) => Object.keys(self.shapes) },
    target: { value: "noise", choices: () => Object.keys(LESSON_TARGETS) },
    num_steps: { value: 1000, min: 100, max: 5000, whole: true },
    seed: { value: 0, min: 0, max: 1e6, whole: true },
    t: { value: 50, min: 1, max: 1000, whole: true },
    error: { value: "noise", choices: () => ["noise", "image"] },
  };

  get shapes() { return this.parsed ??= JSON.parse(this.getAttribute("shapes")); } // by name: [[x, y], ...]

  build() {
    const s = this.settings;
    const { alphaBars } = schedule(LESSON_SCHEDULE);
    this.alphaBars = alphaBars;
    this.network = makePerceptron(LESSON_WIDTHS);
    this.pad = new PointsPad(() => { this.restart(); this.redraw(); this.tellSoon(); }, () => this.redraw());
    this.play = button("Train", "main", () => this.running ? this.stop() : this.train([s.target]));
    this.one = button("One step", "", () => this.train([s.target], 1));
    const all = button("All three", "", () => this.train(Object.keys(LESSON_TARGETS)));
    const another = button("Another seed", "", () => {
      const targets = Object.keys(this.runs).filter((target) => this.runs[target].done);
      this.change({ seed: s.seed + 1 });
      this.train(targets.length ? targets : [s.target]);
    });
    const clear = button("Clear", "", () => { this.pad.points = []; this.restart(); this.redraw(); this.tellSoon(); });
    this.canvases = ["exact", "learned"].map(() => make("canvas", { className: "square", role: "img" }));
    this.captions = [["points", " and samples"], ["exact"], ["learned"]].map(([text, more = ""]) =>
      make("figcaption", {}, make("b", { textContent: text }), more));
    this.losses = make("canvas", { className: "losses", role: "img" });
    this.progress = make("progress", { "aria-label": "steps done", value: 0 });
    this.line = make("p", { className: "line" });
    this.rows = make("tbody");
    this.heading = make("th", { colSpan: 4, scope: "colgroup" });
    const table = make("table", {}, make("thead", {},
      make("tr", {}, make("td", { rowSpan: 2 }), this.heading, make("th", { rowSpan: 2, scope: "col", textContent: "distance" })),
      make("tr", {}, ...["1", "2", "3", "4"].map((quarter) => make("th", { scope: "col", textContent: quarter })))), this.rows);
    this.card.append(
      make("header", {}, make("strong", { textContent: "Training in the page" }),
        ...Object.keys(this.shapes).map((shape) => button(shape[0].toUpperCase() + shape.slice(1), "shape", () => this.change({ shape }))),
        clear, this.reset()),
      make("header", {}, make("span", { textContent: "It predicts" }), this.choices("target", "What the network predicts", LESSON_TARGETS),
        this.slider("num_steps", "steps", { values: [250, 500, 1000, 2000, 4000] })),
      make("div", { className: "pair lesson", "data-three": "" },
        ...[this.pad.canvas, ...this.canvases].map((canvas, n) => make("figure", {}, canvas, this.captions[n]))),
      make("div", { className: "play" }, this.slider("t", "fields at <i>t</i>")),
      make("div", { className: "play" }, this.play, this.one, all, another),
      this.progress, this.line, this.warning,
      make("div", { className: "results" },
        make("figure", {}, this.losses, make("figcaption", {}, make("b", { textContent: "loss" }), " of the network shown, in its own unit")),
        make("div", {}, this.choices("error", "What the table compares", { noise: "error of the noise", image: "error of x₀" }), table)),
      make("p", { className: "hint" }, html(
        "Draw points (blue) with mouse, pen or finger, or with arrow keys and space. The arrows go from <i>x<sub>t</sub></i> towards " +
        "the predicted <i>x</i><sub>0</sub>, and are pale where noisy points are rare. The table has mean squared differences from the " +
        "exact answer, by quarter of <i>t</i>, and the distance of 256 samples (orange) from your points. <i>No network</i> always " +
        "says: no noise; or: the mean point. Look for: which target finds the noise of quarter 1, and which the image of quarter 4. " +
        "Everything is computed in this page.")),
    );
  }

  // The target shown, the step of the fields and the table's kind change nothing that was learned.
  settle(values) {
    if (!this.runs || values.shape) this.pad.points = this.shapes[this.settings.shape];
    if (!this.runs || ["shape", "num_steps", "seed"].some((key) => key in values)) this.restart();
  }

  restart() {
    this.stop();
    this.lesson = undefined;
    this.field = undefined;
    this.runs = Object.fromEntries(Object.keys(LESSON_TARGETS).map((target) => [target, { done: 0, losses: [] }]));
    this.warning.hidden = true;
  }

  async ask(lesson, action, details) {
    const answer = await this.worker.ask(action, details);
    if (lesson !== this.lesson) throw new Restarted();
    return answer;
  }

  // Go on for some steps with these targets, always with the one that has had fewest; from the beginning where all are done.
  async train(targets, most = Infinity) {
    const { points } = this.pad, { seed, num_steps } = this.settings, turn = this.turn = {};
    if (!points.length) {
      this.refuse("There are no points to learn. Draw some, or take a shape.");
      return;
    }
    this.running = true;
    this.play.textContent = "Stop";
    this.warning.hidden = true;
    const lesson = this.lesson ??= {};
    try {
      this.worker ??= new AskedWorker(LESSON_WORKER);
      if (!lesson.begun) lesson.begun = this.ask(lesson, "begin", { options: { points, seed, num_steps } });
      lesson.compare = await lesson.begun;
      const again = targets.filter((target) => this.runs[target].done === num_steps);
      for (const target of again.length === targets.length ? again : []) this.runs[target] = { done: 0, losses: [], afresh: true };
      for (let taken = 0; taken < most && turn === this.turn; taken++) {
        const target = targets.reduce((a, b) => this.runs[b].done < this.runs[a].done ? b : a), run = this.runs[target], before = run.done;
        if (before === num_steps) break;
        const afresh = run.afresh;
        run.afresh = false;
        const { losses, done, weights } = await this.ask(lesson, "train", { target, steps: Math.min(most, CHUNK), afresh });
        run.losses.push(...losses);
        Object.assign(run, { done, weights });
        if (Math.floor(10 * done / num_steps) > Math.floor(10 * before / num_steps)) await this.measure(lesson, target);
        this.redraw();
      }
      for (const target of targets) if (this.runs[target].measured?.done !== this.runs[target].done) await this.measure(lesson, target);
    } catch (error) {
      if (error instanceof Restarted) return;
      this.worker?.end();
      this.worker = undefined;
      this.restart();
      this.refuse(error.message);
    }
    if (turn === this.turn) this.stop(); else if (!this.running) this.tellSoon();
  }

  async measure(lesson, target) {
    const { done } = this.runs[target];
    this.runs[target].measured = { done, ...await this.ask(lesson, "measure", { target }) };
    this.redraw();
  }

  refuse(message) {
    this.stop();
    this.warning.textContent = message;
    this.warning.hidden = false;
  }

  stop() {
    this.running = this.turn = undefined;
    this.play.textContent = "Train";
    this.redraw();
    this.tellSoon();
  }

  tellSoon() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.tell(), 400);
  }

  // The exact field at the step looked at, made once for it.
  exactField() {
    const { points } = this.pad, { t } = this.settings, alphaBar = this.alphaBars[t - 1];
    if (this.field?.points === points && this.field.t === t) return this.field;
    const mixture = { means: points, weights: points.map(() => 1 / points.length), deviation: 0 };
    this.field = {
      points, t, alphaBar, shade: shareOfDensity(points, SHADE_PLACES, alphaBar), seen: shareOfDensity(points, GRID_PLACES, alphaBar),
      x0: points.length ? expectedX0(mixture, GRID_PLACES, alphaBar) : undefined,
    };
    return this.field;
  }

  learnedField({ weights }) {
    const { t, target } = this.settings, count = GRID_SIDE ** 2, alphaBar = this.alphaBars[t - 1];
    const said = this.network.answer(weights, networkInput(GRID_PLACES, new Array(count).fill(t), this.alphaBars), count);
    return said.map((answer, i) => impliedBy(target, GRID_PLACES[i], answer, alphaBar)[0]);
  }

  draw() {
    const { target, num_steps, t } = this.settings, run = this.runs[target], { points } = this.pad, name = LESSON_TARGETS[target];
    const loss = run.losses.length ? run.losses.slice(-50).reduce((a, b) => a + b) / Math.min(50, run.losses.length) : undefined;
    this.progress.max = num_steps;
    this.progress.value = run.done;
    this.line.textContent = `${name}: step ${run.done} of ${num_steps}${loss === undefined ? "" : `, loss ${few(loss)}`}`;
    this.fillTable();
    this.readings = { done: run.done, loss, points: points.length, measured: run.measured };
    const found = run.measured && run.measured[this.settings.error].map(few).join(", ");
    this.sentence = `${points.length} points. ${this.line.textContent}.` + (found
      ? ` Error of the ${this.settings.error} by quarter: ${found}. Distance of the samples ${few(run.measured.distance)}, ` +
        `of the noise they began as ${few(this.lesson.compare.nothing.distance)}.` : "");
    if (REDUCED.matches && this.running) return; // with less motion, the pictures where it stops
    this.pad.paint(run.measured?.samples);
    this.pad.canvas.setAttribute("aria-label", `${points.length} points${run.measured ? `, and 256 samples of the network after ${run.measured.done} steps` : ""}. ` +
      "Draw here. Arrow keys move a cross, space sets a point, backspace takes the last one away.");
    const exact = this.exactField(), [left, right] = this.canvases;
    paintField(left, exact, exact.x0);
    left.setAttribute("aria-label", `Arrows from noisy points at step ${t} towards the exact prediction of the clean point`);
    paintField(right, exact, run.weights && this.learnedField(run));
    right.setAttribute("aria-label", run.weights ? `The same arrows, as the network predicts after ${run.done} steps` : "The network has learned nothing yet");
    this.captions[2].replaceChildren(make("b", { textContent: "learned" }), `, ${name}`);
    paintLosses(this.losses, run.losses, num_steps, this.lesson?.compare?.limits[target]);
    this.losses.setAttribute("aria-label", `Curve of the loss over ${num_steps} steps${loss === undefined ? ", still empty" : `, now ${few(loss)}`}`);
  }

  fillTable() {
    const { error, target } = this.settings, compare = this.lesson?.compare, label = { noise: "the noise", image: "x₀" };
    this.heading.textContent = `error of ${label[error]}, by quarter of t`;
    const results = { "no network": compare?.nothing, ...Object.fromEntries(Object.entries(LESSON_TARGETS).map(
      ([key, name]) => [name, this.runs[key].measured])), exact: compare?.exact };
    this.rows.replaceChildren(...Object.entries(results).map(([name, found]) => make("tr", { className: name === LESSON_TARGETS[target] ? "shown" : "" },
      make("th", { scope: "row", textContent: name }),
      ...(found ? [...found[error], found.distance].map(few) : Array(5).fill("–")).map((textContent) => make("td", { textContent })))));
  }
}

// What an answer of the worker is worth after the points or the settings have changed.
class Restarted extends Error {}
