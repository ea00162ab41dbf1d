// The schedules and the noise: the numbers are those of ddpm_lib.schedules and of numbers.py.

const KINDS = ["linear", "cosine", "sigmoid"];
const TERMINAL_ALPHA_BAR_LIMIT = 1e-3;

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
