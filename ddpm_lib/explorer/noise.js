// The noise of ddpm_lib.sampling.noise_per_image: what NumPy's default_rng([seed, number]) draws as float32 normals.

// NumPy's SeedSequence spreads the entropy (O'Neill's seed_seq), PCG64 makes the bits (O'Neill, 2014), and the ziggurat
// of Marsaglia and Tsang (2000) with 256 layers turns them into normals. For entropy words below 2^32.
function numpyNormals(entropy) {
  const pool = new Uint32Array(4), seeds = new Uint32Array(8);
  let multiplier = 0x43b0d7e5;
  const scramble = (word, factor) => {
    word ^= multiplier;
    multiplier = Math.imul(multiplier, factor);
    word = Math.imul(word, multiplier);
    return (word ^ (word >>> 16)) >>> 0;
  };
  for (let i = 0; i < 4; i++) pool[i] = scramble(entropy[i] ?? 0, 0x931e8875);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) {
      if (from === to) continue;
      const mixed = Math.imul(0xca01f9dd, pool[to]) - Math.imul(0x4973f715, scramble(pool[from], 0x931e8875)) | 0;
      pool[to] = mixed ^ (mixed >>> 16);
    }
  }
  multiplier = 0x8b51f9dd;
  for (let i = 0; i < 8; i++) seeds[i] = scramble(pool[i % 4], 0x58f38ded);

  const wide = (a, b) => (BigInt(a) << 64n) | BigInt(b), LOW = (1n << 64n) - 1n;
  const seed64 = (i) => BigInt(seeds[2 * i]) | (BigInt(seeds[2 * i + 1]) << 32n);
  const FACTOR = 0x2360ed051fc65da44385df649fccf645n, increment = BigInt.asUintN(128, (wide(seed64(2), seed64(3)) << 1n) | 1n);
  let state = increment, upper = -1; // the upper half of the last 64 bits, or -1 if it was used
  const step = () => { state = BigInt.asUintN(128, state * FACTOR + increment); };
  state = BigInt.asUintN(128, state + wide(seed64(0), seed64(1)));
  step();
  const bits32 = () => {
    if (upper >= 0) {
      const bits = upper;
      upper = -1;
      return bits;
    }
    step();
    const mixed = (state >> 64n) ^ (state & LOW), turn = state >> 122n;
    const bits = ((mixed >> turn) | (mixed << (64n - turn))) & LOW;
    upper = Number(bits >> 32n);
    return Number(bits & 0xffffffffn);
  };
  const unit = () => (bits32() >>> 8) / 2 ** 24;

  const { limits, widths, heights, END } = numpyNormals.tables ??= zigguratTables();
  return () => {
    for (;;) {
      const bits = bits32(), layer = bits & 255, place = (bits >>> 9) & 0x7fffff;
      const x = Math.fround(place * widths[layer]) * (bits & 256 ? -1 : 1);
      if (place < limits[layer]) return x;
      if (layer > 0) {
        if ((heights[layer - 1] - heights[layer]) * unit() + heights[layer] < Math.exp(-0.5 * x * x)) return x;
        continue;
      }
      for (;;) { // the tail
        const beyond = -Math.log1p(-unit()) / END, other = -Math.log1p(-unit());
        if (2 * other > beyond * beyond) return (place >>> 8) & 1 ? -(END + beyond) : END + beyond;
      }
    }
  };
}

// 256 layers of equal area under exp(-x^2 / 2), for 23 random bits: the layer's width a bit, and where it is surely inside.
function zigguratTables() {
  const END = 3.6541528853610088, AREA = 0.00492867323399, SCALE = 2 ** 23, density = (x) => Math.exp(-0.5 * x * x);
  const limits = new Uint32Array(256), widths = new Float32Array(256), heights = new Float32Array(256);
  const base = AREA / density(END);
  limits[0] = END / base * SCALE;
  widths[0] = base / SCALE;
  heights[0] = 1;
  widths[255] = END / SCALE;
  heights[255] = density(END);
  let x = END;
  for (let layer = 254; layer > 0; layer--) {
    const inner = Math.sqrt(-2 * Math.log(AREA / x + density(x)));
    limits[layer + 1] = inner / x * SCALE;
    widths[layer] = inner / SCALE;
    heights[layer] = density(inner);
    x = inner;
  }
  return { limits, widths, heights, END };
}
