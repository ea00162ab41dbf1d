// Reading an exported model: the .npz of ddpm_lib.checkpoints.export, as NumPy wrote it.

// The arrays of an .npz file without compression: { name: { type, shape, at, bytes } }, where `at` is a place in `bytes`.
function readNpz(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), text = new TextDecoder();
  const refuse = (why) => { throw new Error(`this is no file of ddpm export: ${why}`); };
  let end = bytes.length - 22; // the end record of a zip file, in front of a comment at most
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) refuse("it is no zip file, or only a part of one");
  const arrays = {};
  let entry = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(entry + offset, true));
    const name = text.decode(bytes.subarray(entry + 46, entry + 46 + nameLength)), local = view.getUint32(entry + 42, true);
    if (view.getUint16(entry + 10, true) !== 0) refuse("it is compressed");
    let at = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    if (text.decode(bytes.subarray(at + 1, at + 6)) !== "NUMPY" || bytes[at + 6] > 2) refuse(`${name} is no array`);
    const long = bytes[at + 6] === 2, size = long ? view.getUint32(at + 8, true) : view.getUint16(at + 8, true);
    const header = text.decode(bytes.subarray(at + (long ? 12 : 10), at += (long ? 12 : 10) + size));
    const [, type, order, shape] = header.match(/'descr': '(.*?)', 'fortran_order': (\w+), 'shape': \((.*?)\)/) ?? [];
    if (order !== "False") refuse(`the order of ${name} is not C's`);
    arrays[name.replace(/\.npy$/, "")] = { type, shape: shape.split(",").filter((n) => n.trim()).map(Number), at, bytes };
    entry += 46 + nameLength + extra + comment;
  }
  return arrays;
}

// The configuration in the file, complete; what this page cannot compute it refuses here.
function readConfig({ about }) {
  if (!about) throw new Error("this is no file of ddpm export: it has no configuration");
  const length = Number(about.type.slice(2)), { config } = JSON.parse(
    new TextDecoder().decode(about.bytes.subarray(about.at, about.at + length)).replace(/\0+$/, ""));
  // Older files do not have the last ones; ddpm_lib.config has the same values for them.
  const known = {
    unet: { image_size: 0, channels: 0, widths: [], blocks_per_level: 0, groups: 0, attention_resolutions: [], heads: 0,
      attention_dim: 0, time_dim: 0, dropout: 0, patch: 1 },
    diffusion: { kind: "", num_steps: 0, beta_start: 0, beta_end: 0, prediction: "noise" },
  };
  const refuse = (why) => { throw new Error(`this page cannot compute the model: ${why}`); };
  for (const part of ["unet", "diffusion"]) {
    for (const [key, value] of Object.entries(config[part])) {
      if (!(key in known[part])) refuse(`it does not know the setting ${key} (${JSON.stringify(value)})`);
    }
    Object.assign(known[part], config[part]);
  }
  const { unet, diffusion } = known, { widths, patch, image_size, time_dim, attention_dim, heads } = unet;
  if (!["linear", "cosine", "sigmoid"].includes(diffusion.kind)) refuse(`it does not know the schedule ${diffusion.kind}`);
  if (!["noise", "v"].includes(diffusion.prediction)) refuse(`it does not know the prediction ${diffusion.prediction}`);
  // The kernel takes inputs by 4, pixels of a row by 4, and makes channels by 8.
  const eights = [...widths, time_dim, attention_dim / heads];
  if (eights.some((width) => width % 8)) refuse(`it wants widths in multiples of 8, and they are ${eights.join(", ")}`);
  const smallest = image_size / patch / 2 ** (widths.length - 1);
  if (smallest % 4) refuse(`its smallest feature maps are ${smallest} pixels wide, which is no multiple of 4`);
  return known;
}
