// Three perceptrons learn the same points, one for each target: the image x_0, the noise, or v.

const LESSON_WIDTHS = [18, 64, 64, 2];
const LESSON_SCHEDULE = { kind: "linear", num_steps: 1000, beta_start: 1e-4, beta_end: 0.02 };

// What goes into the network for points x, two numbers each, at the steps t, as the paper counts them: each coordinate as
// it is and as sines and cosines, and sines and cosines of the angle whose cosine is sqrt(alpha-bar) and whose sine
// is sqrt(1 - alpha-bar). 18 numbers a point.
function networkInput(x, t, alphaBars) {
  const input = new Float64Array(18 * t.length);
  let at = 0;
  for (let i = 0; i < t.length; i++) {
    for (const value of [x[2 * i], x[2 * i + 1]]) {
      input[at++] = value;
      for (let k = 2; k <= 4; k += 2) {
        input[at++] = Math.sin(k * value);
        input[at++] = Math.cos(k * value);
      }
    }
    const angle = Math.acos(Math.sqrt(alphaBars[t[i] - 1]));
    for (let k = 1; k <= 4; k++) {
      input[at++] = Math.sin(k * angle);
      input[at++] = Math.cos(k * angle);
    }
  }
  return input;
}

// What a network should answer, for one number.
function wantedAnswer(target, x0, noise, alphaBar) {
  return target === "x_0" ? x0 : target === "noise" ? noise : Math.sqrt(alphaBar) * noise - Math.sqrt(1 - alphaBar) * x0;
}

// The image and the noise that an answer implies, for one number.
function impliedBy(target, x, answer, alphaBar) {
  const root = Math.sqrt(alphaBar), rest = Math.sqrt(1 - alphaBar);
  if (target === "x_0") return [answer, (x - root * answer) / rest];
  if (target === "noise") return [(x - rest * answer) / root, answer];
  return [root * x - rest * answer, rest * x + root * answer];
}

// A batch: `count` of the points, each with a step from `low` to `high` and with noise.
function drawBatch(points, alphaBars, uniform, count, low, high) {
  const batch = { t: [], x0: new Float64Array(2 * count), noise: new Float64Array(2 * count), x: new Float64Array(2 * count) };
  for (let i = 0; i < count; i++) {
    const point = points[Math.floor(uniform() * points.length)], t = low + Math.floor(uniform() * (high - low + 1));
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), turn = 2 * Math.PI * uniform();
    batch.t.push(t);
    batch.x0.set(point, 2 * i);
    batch.noise.set([radius * Math.cos(turn), radius * Math.sin(turn)], 2 * i);
    for (let d = 2 * i; d < 2 * i + 2; d++) {
      batch.x[d] = Math.sqrt(alphaBars[t - 1]) * batch.x0[d] + Math.sqrt(1 - alphaBars[t - 1]) * batch.noise[d];
    }
  }
  return batch;
}

// Mean and variance a number of the point behind a noisy one, x: Bayes' rule over all points.
function posteriorOfPoint(points, x, alphaBar) {
  const root = Math.sqrt(alphaBar), logs = points.map((point) =>
    -((x[0] - root * point[0]) ** 2 + (x[1] - root * point[1]) ** 2) / (2 * (1 - alphaBar)));
  const best = logs.reduce((a, b) => Math.max(a, b)), shares = logs.map((log) => Math.exp(log - best));
  const total = shares.reduce((a, b) => a + b), average = (of) => shares.reduce((sum, share, k) => sum + share * of(points[k]), 0) / total;
  const mean = [average((point) => point[0]), average((point) => point[1])];
  return { mean, variance: average((point) => (point[0] - mean[0]) ** 2 + (point[1] - mean[1]) ** 2) / 2 };
}

// How far one set of points must be moved to become another, on average: the Wasserstein-1 distance along 8 directions.
function slicedDistance(first, second, directions) {
  let sum = 0;
  for (const [across, up] of directions) {
    const [a, b] = [first, second].map((points) =>
      Float64Array.from({ length: points.length / 2 }, (_, i) => across * points[2 * i] + up * points[2 * i + 1]).sort());
    let i = 0, j = 0, last = Math.min(a[0], b[0]);
    while (i < a.length || j < b.length) {
      const next = Math.min(i < a.length ? a[i] : Infinity, j < b.length ? b[j] : Infinity);
      sum += Math.abs(i / a.length - j / b.length) * (next - last);
      last = next;
      if (a[i] === next) i++; else j++;
    }
  }
  return sum / directions.length;
}

// A lesson on `points` ([x, y] each). The three networks begin with the same weights and see the same batches; their rate
// falls along half a cosine, to 0 after `num_steps` steps.
function makeLesson({ points, seed, num_steps }) {
  const T = 1000, BATCH = 128, RATE = 0.015, PROBES = 256, SAMPLES = 256;
  const { alphaBars } = schedule(LESSON_SCHEDULE), network = makePerceptron(LESSON_WIDTHS), runs = {}, flat = points.flat();
  const bar = (t) => t ? alphaBars[t - 1] : 1; // t = 0 is the image

  function begin(target) {
    const weights = network.start(uniforms(2 * seed));
    runs[target] = { weights, mean: weights.map(() => 0), square: weights.map(() => 0), done: 0, uniform: uniforms(2 * seed + 1) };
  }
  ["x_0", "noise", "v"].forEach(begin);

  // Noisy points to measure at, of the quarters of t one after another, with the exact answers.
  const quarters = [1, 251, 501, 751].map((low) => {
    const probe = drawBatch(points, alphaBars, uniforms(-low), PROBES, low, low + 249);
    const posteriors = probe.t.map((t, i) => posteriorOfPoint(points, probe.x.subarray(2 * i, 2 * i + 2), bar(t)));
    probe.variances = posteriors.map(({ variance }) => variance);
    probe.best = posteriors.map(({ mean }, i) => [mean, mean.map((value, d) =>
      (probe.x[2 * i + d] - Math.sqrt(bar(probe.t[i])) * value) / Math.sqrt(1 - bar(probe.t[i])))]);
    return probe;
  });

  // Mean squared errors of the image and of the noise by quarter, of guesses [image, noise] of a number of a probe.
  function errors(guess) {
    const found = { image: [], noise: [] };
    for (const probe of quarters) {
      const sums = [0, 0], guessed = guess(probe);
      for (let i = 0; i < 2 * PROBES; i++) {
        const best = probe.best[i >> 1];
        guessed(i).forEach((value, kind) => { sums[kind] += (value - best[kind][i & 1]) ** 2 / (2 * PROBES); });
      }
      found.image.push(sums[0]);
      found.noise.push(sums[1]);
    }
    return found;
  }

  // The mean loss of always answering 0, and of the exact answer, which no training can go below. The latter is the variance
  // of the point behind x, in the unit of the target.
  function limits(target) {
    const square = flat.reduce((sum, value) => sum + value ** 2 / flat.length, 0), found = { silent: 0, exact: 0 };
    for (const alphaBar of alphaBars) {
      found.silent += wantedAnswer(target, 1, 0, alphaBar) ** 2 * square / T + wantedAnswer(target, 0, 1, alphaBar) ** 2 / T;
    }
    for (const { t, variances } of quarters) {
      for (let i = 0; i < PROBES; i++) {
        const alphaBar = bar(t[i]), factor = { x_0: 1, noise: alphaBar / (1 - alphaBar), v: 1 / (1 - alphaBar) }[target];
        found.exact += factor * variances[i] / (4 * PROBES);
      }
    }
    return found;
  }

  const answers = (target, x, t) => network.answer(runs[target].weights, networkInput(x, t, alphaBars), t.length);

  // From noise to points: DDPM with the posterior variance, in 50 steps.
  function samples(target) {
    const steps = visitedSteps(T, 50), options = { sampler: "ddpm", variance: "posterior" };
    let x = gaussians(2 * SAMPLES, 1);
    for (let k = 0; k < 50; k++) {
      const alphaBar = bar(steps[k]), said = answers(target, x, new Array(SAMPLES).fill(steps[k]));
      const x0 = said.map((answer, i) => impliedBy(target, x[i], answer, alphaBar)[0]);
      x = reverseStep(options, x, x0, alphaBar, bar(steps[k + 1]), gaussians(x.length, 100 + k));
    }
    return x;
  }

  const distance = (x) => slicedDistance(x, flat, DIRECTIONS[2]);

  function train(target, steps, afresh = false) {
    if (afresh) begin(target);
    const run = runs[target], losses = [];
    while (losses.length < steps && run.done < num_steps) {
      const { t, x0, noise, x } = drawBatch(points, alphaBars, run.uniform, BATCH, 1, T);
      const wanted = x0.map((value, i) => wantedAnswer(target, value, noise[i], bar(t[i >> 1])));
      const { loss, gradient } = network.gradient(run.weights, networkInput(x, t, alphaBars), wanted, BATCH);
      adamStep(run, gradient, RATE * (1 + Math.cos(Math.PI * run.done / num_steps)) / 2);
      losses.push(loss);
    }
    return { losses, done: run.done, weights: run.weights.slice() };
  }

  function measure(target) {
    const found = errors(({ x, t }) => {
      const said = answers(target, x, t);
      return (i) => impliedBy(target, x[i], said[i], bar(t[i >> 1]));
    });
    const x = samples(target);
    return { ...found, samples: x, distance: distance(x) };
  }

  // What the networks are compared with: always the mean image, and always no noise; and the exact denoiser.
  function compare() {
    const mean = [0, 1].map((d) => points.reduce((sum, point) => sum + point[d] / points.length, 0));
    const drawn = drawBatch(points, alphaBars, uniforms(-1), SAMPLES, 1, 1).x0;
    return {
      limits: Object.fromEntries(Object.keys(runs).map((target) => [target, limits(target)])),
      nothing: { ...errors(() => (i) => [mean[i & 1], 0]), distance: distance(gaussians(2 * SAMPLES, 1)) },
      exact: { ...errors(({ best }) => (i) => best[i >> 1].map((pair) => pair[i & 1])), distance: distance(drawn) },
    };
  }

  return { train, measure, compare };
}

// What the worker runs.
function serveLesson() {
  let lesson;
  answerWith({
    begin({ options }) {
      lesson = makeLesson(options);
      return lesson.compare();
    },
    train({ target, steps, afresh }) { return lesson.train(target, steps, afresh); },
    measure({ target }) { return lesson.measure(target); },
  });
}

const LESSON_WORKER = workerText({
  DIRECTIONS, LESSON_WIDTHS, LESSON_SCHEDULE, betaTable, schedule, uniforms, gaussians, halfToEven, visitedSteps, reverseStep,
  multiplyAdd, transpose, makePerceptron, adamStep, networkInput, wantedAnswer, impliedBy, drawBatch, posteriorOfPoint,
  slicedDistance, makeLesson, answerWith, serveLesson,
});
