// A walk from noise to images, in a worker: one step of ddpm_lib.sampling for every question of the page.

// The steps of ddpm_sample, ddim_sample or dpm_solver_pp_sample with one seed an image. `begin` may be
// { picture, strength }: the walk then starts at the noised picture, at the first visited step that is no noisier than this
// share of all steps (Meng et al., 2022). `start` is what it begins with; every call of `step` takes one step.
function makeWalk({ predict, diffusion, shape }, { sampler, variance, eta, num_steps, seeds, begin }) {
  const { alphaBars } = schedule(diffusion), T = alphaBars.length;
  const size = shape.reduce((a, b) => a * b), bar = (t) => t ? alphaBars[t - 1] : 1; // t as in the paper, 0 is the image
  let steps = visitedSteps(T, num_steps), x = noise(-1), done = 0, before;

  function noise(number) {
    const values = new Float32Array(seeds.length * size);
    seeds.forEach((seed, image) => {
      const normal = numpyNormals([seed, number + 1]);
      for (let i = image * size; i < (image + 1) * size; i++) values[i] = normal();
    });
    return values;
  }

  if (begin) {
    const visited = steps.filter((t) => t <= Math.round(begin.strength * T));
    steps = visited.length > 1 ? visited : steps.slice(-2); // less noise than the shortest step would leave
    const alphaBar = bar(steps[0]);
    x = x.map((value, i) => Math.sqrt(alphaBar) * begin.picture[i % size] + Math.sqrt(1 - alphaBar) * value);
  }

  // The predicted image, clipped.
  function predictX0(t, alphaBar) {
    const root = Math.sqrt(alphaBar), rest = Math.sqrt(1 - alphaBar), x0 = new Float32Array(x.length);
    for (let from = 0; from < x.length; from += size) {
      const answer = predict(x.subarray(from, from + size), t - 1);
      for (let i = 0; i < size; i++) {
        const value = x[from + i], said = answer[i];
        const clean = diffusion.prediction === "v" ? root * value - rest * said : (value - rest * said) / root;
        x0[from + i] = Math.max(-1, Math.min(1, clean));
      }
    }
    return x0;
  }

  function step() {
    const t = steps[done], next = steps[done + 1], alphaBar = bar(t);
    if (alphaBar === 0) throw new Error(`nothing is left of the image at step ${t}: predicted noise says nothing there`);
    const x0 = predictX0(t, alphaBar);
    if (sampler === "dpm++") {
      x = solverStep(x, x0, alphaBar, bar(next), before);
    } else {
      const fresh = next > 0 && (sampler === "ddpm" || eta > 0) ? noise(done) : undefined;
      x = reverseStep({ sampler, variance, eta }, x, x0, alphaBar, bar(next), fresh);
    }
    before = { logU: Math.log(alphaBar / (1 - alphaBar)) / 2, x0 };
    done++;
    return { done, t: next, x, x0 };
  }

  return { start: { count: steps.length - 1, t: steps[0], x }, step };
}

// What the worker runs.
function serve() {
  let model, walk;
  const bytesOf = (text) => {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    return bytes;
  };
  const actions = {
    load({ file, kernel }) {
      const bytes = typeof file === "string" ? bytesOf(file) : new Uint8Array(file), arrays = readNpz(bytes);
      const config = readConfig(arrays), { image_size, channels } = config.unet;
      const predict = makeUnet(arrays, config, kernel && bytesOf(kernel));
      model = { predict, diffusion: config.diffusion, shape: [image_size, image_size, channels] };
      return { shape: model.shape, num_steps: model.diffusion.num_steps };
    },
    begin({ options }) {
      walk = makeWalk(model, options);
      return walk.start;
    },
    step() { return walk.step(); },
    predict({ x, t }) { return { answer: model.predict(x, t) }; },
  };
  answerWith(actions);
}

const WALK_WORKER = workerText({
  betaTable, schedule, halfToEven, visitedSteps, reverseStep, solverStep, zigguratTables, numpyNormals, readNpz, readConfig,
  makeUnet, makeWalk, answerWith, serve,
});

// Whether the browser can run the kernel: WebAssembly with vectors.
const kernelWorks = () => typeof WebAssembly === "object" &&
  WebAssembly.validate(Uint8Array.from(atob(KERNEL), (letter) => letter.charCodeAt(0)));

// A model in a worker of its own; `file` is the exported file, as bytes or in base64.
class ModelWorker extends AskedWorker {
  constructor() { super(WALK_WORKER); }

  async load(file) { this.model = await this.ask("load", { file, kernel: kernelWorks() ? KERNEL : null }); }
}
