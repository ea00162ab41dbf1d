// The U-Net of ddpm_lib.unet, forwards: the same layers in the same order, for one image at a time.

// `arrays` and `config` come from readNpz and readConfig; `kernel` are the bytes of kernel.js, or nothing where the
// browser has no WebAssembly. Returns a function of x_t (H, W, C) and the index t, whose value is the network's answer.
//
// All numbers lie in one memory, float32, images row by row with the channels innermost. Weights come first; what one
// call needs is taken after them, and a layer gives back what only it has used.
function makeUnet(arrays, { unet: config }, kernel) {
  const { image_size, channels, widths, blocks_per_level, groups, attention_resolutions, heads, patch } = config;
  const memory = kernel && new WebAssembly.Memory({ initial: 1 });
  let heap = new Float32Array(memory ? memory.buffer : 16384), top = 0;
  const upTo = (unit, count) => Math.ceil(count / unit) * unit;

  function take(count) {
    const at = top;
    top += upTo(4, count);
    if (top > heap.length) {
      const wanted = Math.ceil(1.2 * top / 16384) * 16384, before = heap; // pages of 64 KiB
      if (memory) {
        memory.grow((wanted - before.length) / 16384);
        heap = new Float32Array(memory.buffer);
      } else {
        heap = new Float32Array(wanted);
        heap.set(before);
      }
    }
    return at;
  }

  // ---- The kernel, see book/_tools/kernel.py; here all places and distances count floats -------------------------

  function plainLoops(input, pixel, length, pieces, piece, pixels, rows, row, weights, bias, output, outputPixel, panels) {
    const H = heap;
    for (let panel = 0; panel < panels; panel++, bias += 8) {
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < pixels; x++) {
          let s0 = H[bias], s1 = H[bias + 1], s2 = H[bias + 2], s3 = H[bias + 3];
          let s4 = H[bias + 4], s5 = H[bias + 5], s6 = H[bias + 6], s7 = H[bias + 7];
          let w = weights + panel * pieces * length * 8;
          for (let p = 0; p < pieces; p++) {
            const from = input + y * row + x * pixel + p * piece;
            for (let i = from; i < from + length; i++, w += 8) {
              const value = H[i];
              s0 += value * H[w]; s1 += value * H[w + 1]; s2 += value * H[w + 2]; s3 += value * H[w + 3];
              s4 += value * H[w + 4]; s5 += value * H[w + 5]; s6 += value * H[w + 6]; s7 += value * H[w + 7];
            }
          }
          const o = output + panel * 8 + (y * pixels + x) * outputPixel;
          H[o] = s0; H[o + 1] = s1; H[o + 2] = s2; H[o + 3] = s3; H[o + 4] = s4; H[o + 5] = s5; H[o + 6] = s6; H[o + 7] = s7;
        }
      }
    }
  }

  function withKernel() {
    const { multiply } = new WebAssembly.Instance(new WebAssembly.Module(kernel), { page: { memory } }).exports;
    return (input, pixel, length, pieces, piece, pixels, rows, row, weights, bias, output, outputPixel, panels) => multiply(
      4 * input, 4 * pixel, length, pieces, 4 * piece, pixels, rows, 4 * row, 4 * weights, 4 * bias, 4 * output,
      4 * outputPixel, panels);
  }

  const multiply = kernel ? withKernel() : plainLoops;

  // ---- Weights ---------------------------------------------------------------------------------------------------

  const half = (bits) => {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
  };
  const halves = Float32Array.from({ length: 65536 }, (_, bits) => half(bits));

  // Vectors fill up to 8. Kernels become panels of 8 output channels, the inputs of every tap filled up to 4.
  function place({ type, shape, at, bytes }) {
    if (type !== "<f2") throw new Error(`the weights are not float16 but ${type}: this is no file of ddpm export`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + at), outputs = shape.at(-1), inputs = shape.at(-2) ?? 1;
    const value = (i) => halves[view.getUint16(2 * i, true)];
    if (shape.length === 1) {
      const vector = take(upTo(8, outputs));
      for (let o = 0; o < outputs; o++) heap[vector + o] = value(o);
      return { at: vector, outputs };
    }
    const taps = shape.reduce((a, b) => a * b) / inputs / outputs, filled = upTo(4, inputs), length = taps * filled;
    const panels = take(length * upTo(8, outputs));
    for (let tap = 0; tap < taps; tap++) {
      for (let i = 0; i < inputs; i++) {
        for (let o = 0; o < outputs; o++) {
          heap[panels + (o >> 3) * length * 8 + (tap * filled + i) * 8 + (o & 7)] = value((tap * inputs + i) * outputs + o);
        }
      }
    }
    return { at: panels, inputs: filled, outputs, taps };
  }

  const placed = {}, used = new Set();
  for (const [name, array] of Object.entries(arrays)) if (name !== "about") placed[name] = place(array);
  function weights(name) {
    used.add(name);
    return placed[name] ?? fail(`the file has no ${name}`);
  }
  function fail(why) { throw new Error(`this page cannot compute the model: ${why}`); }

  // ---- Layers ----------------------------------------------------------------------------------------------------

  const tensor = (height, width, depth) => ({ at: take(height * width * depth), height, width, depth });

  function framed(height, width, depth) { // zeros, one pixel larger all around than the image that goes into it
    const frame = tensor(height + 2, width + 2, depth);
    heap.fill(0, frame.at, frame.at + (height + 2) * (width + 2) * depth);
    return frame;
  }

  function dense(x, name, out) {
    const { at, inputs, outputs, taps } = weights(`${name}/kernel`), bias = weights(`${name}/bias`).at;
    if (taps !== 1 || inputs !== x.depth) fail(`${name} does not fit`);
    multiply(x.at, x.depth, x.depth, 1, 0, x.height * x.width, 1, 0, at, bias, out.at, out.depth, upTo(8, outputs) / 8);
    return out;
  }

  function convolution(frame, name, out) {
    const { at, inputs, outputs, taps } = weights(`${name}/kernel`), bias = weights(`${name}/bias`).at;
    if (taps !== 9 || inputs !== frame.depth || upTo(8, outputs) !== out.depth) fail(`${name} does not fit`);
    const row = frame.width * frame.depth;
    multiply(frame.at, frame.depth, 3 * frame.depth, 3, row, out.width, out.height, row, at, bias, out.at, out.depth,
      out.depth / 8);
    return out;
  }

  const silu = (value) => value / (1 + Math.exp(-value));
  const [channelScale, channelShift] = [0, 1].map(() => new Float64Array(2 * Math.max(...widths)));

  // GroupNorm, with a scale and a shift for every channel, into the middle of `out`.
  function norm(x, out, scale, shift, activate) {
    const { at, height, width, depth } = x, wide = depth / groups, size = height * width, end = at + size * depth;
    for (let group = 0; group < groups; group++) {
      let sum = 0, squares = 0;
      for (let i = at + group * wide; i < end; i += depth) {
        for (let c = 0; c < wide; c++) {
          const value = heap[i + c];
          sum += value;
          squares += value * value;
        }
      }
      const mean = sum / (size * wide), deviation = Math.sqrt(squares / (size * wide) - mean * mean + 1e-5);
      for (let c = group * wide; c < (group + 1) * wide; c++) {
        channelScale[c] = scale(c) / deviation;
        channelShift[c] = shift(c) - mean * channelScale[c];
      }
    }
    const border = (out.width - width) / 2;
    let i = at;
    for (let y = 0; y < height; y++) {
      let o = out.at + ((y + border) * out.width + border) * depth;
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < depth; c++, i++, o++) {
          const value = heap[i] * channelScale[c] + channelShift[c];
          heap[o] = activate ? silu(value) : value;
        }
      }
    }
    return out;
  }

  function learnedNorm(x, name, out, activate = true) {
    const gamma = weights(`${name}/gamma`).at, beta = weights(`${name}/beta`).at;
    return norm(x, out, (c) => heap[gamma + c], (c) => heap[beta + c], activate);
  }

  function add(out, x) {
    for (let i = 0; i < x.height * x.width * x.depth; i++) heap[out.at + i] += heap[x.at + i];
    return out;
  }

  function resBlock(x, name) {
    const { height, width, depth } = x, wide = weights(`${name}/conv_1/kernel`).outputs, at = told[name];
    const out = tensor(height, width, wide), mark = top;
    const first = learnedNorm(x, `${name}/norm_1`, framed(height, width, depth));
    const h = convolution(first, `${name}/conv_1`, tensor(height, width, wide));
    const second = norm(h, framed(height, width, wide), (c) => 1 + heap[at + c], (c) => heap[at + wide + c], true);
    convolution(second, `${name}/conv_2`, out);
    add(out, depth === wide ? x : dense(x, `${name}/shortcut`, tensor(height, width, wide)));
    top = mark;
    return out;
  }

  function attention(x, name) {
    const { height, width, depth } = x, tokens = height * width, { attention_dim } = config, own = attention_dim / heads;
    const out = tensor(height, width, depth), mark = top;
    const normed = learnedNorm(x, `${name}/norm`, tensor(height, width, depth), false);
    const queries = dense(normed, `${name}/query_key_value`, tensor(height, width, 3 * attention_dim));
    const mixed = tensor(height, width, attention_dim), scores = tensor(tokens, 1, tokens);
    const panels = take(tokens * own), zeros = take(tokens);
    heap.fill(0, zeros, zeros + tokens);
    for (let head = 0; head < heads; head++) {
      const query = queries.at + head * own, key = query + attention_dim, value = key + attention_dim;
      for (let token = 0; token < tokens; token++) { // keys in panels of 8 tokens
        for (let c = 0; c < own; c++) {
          heap[panels + (token >> 3) * own * 8 + c * 8 + (token & 7)] = heap[key + token * 3 * attention_dim + c] / Math.sqrt(own);
        }
      }
      multiply(query, 3 * attention_dim, own, 1, 0, tokens, 1, 0, panels, zeros, scores.at, tokens, tokens / 8);
      for (let i = scores.at; i < scores.at + tokens * tokens; i += tokens) {
        let most = -Infinity, total = 0;
        for (let j = i; j < i + tokens; j++) most = Math.max(most, heap[j]);
        for (let j = i; j < i + tokens; j++) total += heap[j] = Math.exp(heap[j] - most);
        for (let j = i; j < i + tokens; j++) heap[j] /= total;
      }
      for (let token = 0; token < tokens; token++) { // values in panels of 8 channels
        for (let c = 0; c < own; c++) {
          heap[panels + (c >> 3) * tokens * 8 + token * 8 + (c & 7)] = heap[value + token * 3 * attention_dim + c];
        }
      }
      multiply(scores.at, tokens, tokens, 1, 0, tokens, 1, 0, panels, zeros, mixed.at + head * own, attention_dim, own / 8);
    }
    add(dense(mixed, `${name}/project`, out), x);
    top = mark;
    return out;
  }

  function pool(x) { // the largest of 2x2 pixels
    const { at, width, depth } = x, out = tensor(x.height / 2, width / 2, depth), row = width * depth;
    let o = out.at;
    for (let y = 0; y < out.height; y++) {
      for (let column = 0; column < out.width; column++) {
        for (let i = at + 2 * y * row + 2 * column * depth, end = i + depth; i < end; i++) {
          heap[o++] = Math.max(heap[i], heap[i + depth], heap[i + row], heap[i + row + depth]);
        }
      }
    }
    return out;
  }

  function upsample(x) { // bilinear: 3/4 of the nearer and 1/4 of the farther pixel along each axis
    const { at, height, width, depth } = x, out = tensor(2 * height, 2 * width, depth);
    const farther = (i, count) => Math.min(count - 1, Math.max(0, i & 1 ? (i >> 1) + 1 : (i >> 1) - 1));
    let o = out.at;
    for (let y = 0; y < 2 * height; y++) {
      const near = at + (y >> 1) * width * depth, far = at + farther(y, height) * width * depth;
      for (let column = 0; column < 2 * width; column++) {
        const nearer = (column >> 1) * depth, other = farther(column, width) * depth;
        for (let c = 0; c < depth; c++) {
          heap[o++] = 0.5625 * heap[near + nearer + c] + 0.1875 * (heap[near + other + c] + heap[far + nearer + c]) +
            0.0625 * heap[far + other + c];
        }
      }
    }
    return out;
  }

  function concatenate(x, skip) {
    const out = tensor(x.height, x.width, x.depth + skip.depth);
    for (let i = 0, o = out.at; i < x.height * x.width; i++, o += out.depth) {
      heap.copyWithin(o, x.at + i * x.depth, x.at + (i + 1) * x.depth);
      heap.copyWithin(o + x.depth, skip.at + i * skip.depth, skip.at + (i + 1) * skip.depth);
    }
    return out;
  }

  // ---- Time: the same for all images of a step, so it is kept until t changes --------------------------------------

  const start = top, suffix = "/scale_and_shift/kernel";
  let known, told, base; // the index; what it tells each block: the scales of its channels, then their shifts; what is free

  function embed(t) { // the kernel takes four rows; the first is the one we want
    top = start;
    const size = config.time_dim, code = tensor(4, 1, size);
    for (let i = 0; i < size; i += 2) {
      const angle = Math.fround(t * Math.fround(10000 ** (-i / size)));
      heap[code.at + i] = Math.sin(angle);
      heap[code.at + i + 1] = Math.cos(angle);
    }
    const activated = (x) => {
      for (let i = x.at; i < x.at + size; i++) heap[i] = silu(heap[i]);
      return x;
    };
    const first = activated(dense(code, "time_dense_1", tensor(4, 1, size)));
    const time = activated(dense(first, "time_dense_2", tensor(4, 1, size)));
    told = {};
    for (const name of Object.keys(placed).filter((name) => name.endsWith(suffix))) {
      const block = name.slice(0, -suffix.length);
      told[block] = dense(time, `${block}/scale_and_shift`, tensor(4, 1, placed[name].outputs)).at;
    }
    [known, base] = [t, top];
  }

  // ---- The network -------------------------------------------------------------------------------------------------

  const folded = patch * patch * channels;
  const position = (y, x, c) => { // of a folded channel in the image: FoldPatches
    const pixel = Math.floor(c / channels), row = y * patch + Math.floor(pixel / patch);
    return (row * image_size + x * patch + pixel % patch) * channels + c % channels;
  };

  function predict(image, t) {
    if (t !== known) embed(t);
    top = base;
    let size = image_size / patch;
    const frame = framed(size, size, upTo(4, folded));
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const at = frame.at + ((y + 1) * frame.width + x + 1) * frame.depth;
        for (let c = 0; c < folded; c++) heap[at + c] = image[position(y, x, c)];
      }
    }
    let h = convolution(frame, "stem", tensor(size, size, widths[0]));
    const skips = [];
    const blocks = (way) => {
      for (let block = 1; block <= blocks_per_level; block++) h = resBlock(h, `${way}_${size}_block_${block}`);
      if (attention_resolutions.includes(size)) h = attention(h, `${way}_${size}_attention`);
    };
    for (let level = 0; level < widths.length; level++) {
      blocks("down");
      skips.push(h);
      if (level === widths.length - 1) break;
      h = pool(h);
      size /= 2;
    }
    h = resBlock(attention(resBlock(h, "middle_block_1"), "middle_attention"), "middle_block_2");
    for (let level = widths.length - 1; level >= 0; level--) {
      h = concatenate(h, skips.pop());
      blocks("up");
      if (level === 0) break;
      h = upsample(h);
      size *= 2;
    }
    h = convolution(learnedNorm(h, "head_norm", framed(size, size, h.depth)), "head", tensor(size, size, upTo(8, folded)));
    const answer = new Float32Array(image.length);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < folded; c++) answer[position(y, x, c)] = heap[h.at + (y * size + x) * h.depth + c];
      }
    }
    return answer;
  }

  // Once, to see that everything is there, and that nothing is left over.
  predict(new Float32Array(image_size * image_size * channels), 0);
  const unused = Object.keys(placed).filter((name) => !used.has(name));
  if (unused.length) fail(`it does not know the layer ${unused[0]}`);
  return predict;
}
