// The exact reverse process of a mixture.

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

// One step of ddpm_sample or ddim_sample in ddpm_lib.sampling, without clipping. A step that adds none needs no noise.
function reverseStep({ sampler, variance, eta }, x, x0, alphaBar, next, noise = new Float64Array(x.length)) {
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

const halfToEven = (value) => { // as NumPy rounds
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
};

// The steps visited, as the paper's t, from T down to 0: timestep_subsequence with trailing spacing.
function visitedSteps(T, count) {
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
