// A perceptron with two hidden layers, by hand: its answers, the gradient of its squared error, and Adam.

// total (rows x columns) += left (rows x inner) times right (inner x columns), where rows is even. `down` and `across` are
// the ways in `left` to the next row and to the next column: swapped, they transpose it.
function multiplyAdd(total, left, right, rows, inner, columns, down, across) {
  for (let row = 0; row < rows; row += 2) {
    const one = row * columns, two = one + columns;
    let k = 0;
    for (; k + 3 < inner; k += 4) { // two rows of four: few reads and writes for each product
      const at = row * down + k * across, from = k * columns;
      const a = left[at], b = left[at + across], c = left[at + 2 * across], d = left[at + 3 * across];
      const e = left[at + down], f = left[at + down + across], g = left[at + down + 2 * across], h = left[at + down + 3 * across];
      for (let j = 0; j < columns; j++) {
        const p = right[from + j], q = right[from + columns + j];
        const r = right[from + 2 * columns + j], s = right[from + 3 * columns + j];
        total[one + j] += a * p + b * q + c * r + d * s;
        total[two + j] += e * p + f * q + g * r + h * s;
      }
    }
    for (; k < inner; k++) {
      const a = left[row * down + k * across], e = left[(row + 1) * down + k * across];
      for (let j = 0; j < columns; j++) {
        total[one + j] += a * right[k * columns + j];
        total[two + j] += e * right[k * columns + j];
      }
    }
  }
}

function transpose(table, rows, columns) {
  const turned = new Float64Array(table.length);
  for (let row = 0; row < rows; row++) for (let j = 0; j < columns; j++) turned[j * rows + row] = table[row * columns + j];
  return turned;
}

// `widths` are the numbers that go in, through, and out, as [18, 64, 64, 2]. The weights of all layers lie one after the
// other in one Float64Array, each layer's matrix (in x out) before its biases. Between them is SiLU, z / (1 + exp(-z)).
// All widths but the last, and the number of inputs at once, are even.
function makePerceptron(widths) {
  const layers = [];
  let size = 0;
  for (let n = 0; n + 1 < widths.length; n++) {
    layers.push({ from: size, bias: size + widths[n] * widths[n + 1], into: widths[n], out: widths[n + 1] });
    size += (widths[n] + 1) * widths[n + 1];
  }
  const matrix = (weights, { from, bias }) => weights.subarray(from, bias);

  // Uniform within the limits of Glorot and Bengio (2010), as in Keras; the last layer is 0, and so is every first answer.
  function start(uniform) {
    const weights = new Float64Array(size);
    for (const layer of layers.slice(0, -1)) {
      const limit = Math.sqrt(6 / (layer.into + layer.out)), table = matrix(weights, layer);
      for (let i = 0; i < table.length; i++) table[i] = limit * (2 * uniform() - 1);
    }
    return weights;
  }

  // What goes into every layer, for the gradient; the answers are last.
  function trace(weights, input, count) {
    const values = [input], slopes = [];
    for (const [n, layer] of layers.entries()) {
      const { bias, into, out } = layer, sums = new Float64Array(count * out);
      for (let row = 0; row < count; row++) sums.set(weights.subarray(bias, bias + out), row * out);
      multiplyAdd(sums, values[n], matrix(weights, layer), count, into, out, into, 1);
      if (n < layers.length - 1) {
        const slope = new Float64Array(sums.length);
        for (let i = 0; i < sums.length; i++) {
          const z = sums[i], share = 1 / (1 + Math.exp(-z));
          slope[i] = share * (1 + z * (1 - share));
          sums[i] = z * share;
        }
        slopes.push(slope);
      }
      values.push(sums);
    }
    return { values, slopes };
  }

  const answer = (weights, input, count) => trace(weights, input, count).values.at(-1);

  // The mean squared error of the answers, and its gradient in the order of the weights.
  function gradient(weights, input, wanted, count) {
    const { values, slopes } = trace(weights, input, count), answers = values.at(-1), found = new Float64Array(size);
    let loss = 0, errors = new Float64Array(answers.length);
    for (let i = 0; i < answers.length; i++) {
      const difference = answers[i] - wanted[i];
      loss += difference ** 2 / answers.length;
      errors[i] = 2 * difference / answers.length;
    }
    for (let n = layers.length - 1; n >= 0; n--) {
      const layer = layers[n], { bias, into, out } = layer, table = matrix(weights, layer);
      multiplyAdd(matrix(found, layer), values[n], errors, into, count, out, 1, into);
      for (let row = 0; row < count; row++) for (let j = 0; j < out; j++) found[bias + j] += errors[row * out + j];
      if (n === 0) break;
      const before = new Float64Array(count * into), slope = slopes[n - 1];
      multiplyAdd(before, errors, transpose(table, into, out), count, out, into, out, 1);
      for (let i = 0; i < before.length; i++) before[i] *= slope[i];
      errors = before;
    }
    return { loss, gradient: found };
  }

  return { size, start, answer, gradient };
}

// One step of Adam (Kingma and Ba, 2015) with the numbers of Keras; `state` is { weights, mean, square, done }.
function adamStep(state, gradient, rate) {
  const { weights, mean, square } = state;
  state.done++;
  const scaled = rate * Math.sqrt(1 - 0.999 ** state.done) / (1 - 0.9 ** state.done);
  for (let i = 0; i < weights.length; i++) {
    mean[i] += 0.1 * (gradient[i] - mean[i]);
    square[i] += 0.001 * (gradient[i] ** 2 - square[i]);
    weights[i] -= scaled * mean[i] / (Math.sqrt(square[i]) + 1e-7);
  }
}
