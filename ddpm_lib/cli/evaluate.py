"""`ddpm evaluate`: measure how far generated pictures are from photographs."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from ddpm_lib.cli.conventions import (
    COUNT,
    MODEL,
    add_data_flags,
    add_sampler_flags,
    check_sampler_flags,
    chosen_sampler,
    import_keras,
    make_folder,
    path,
    refuse_data_dir_of_digits,
    refuse_to_write_over,
    save_samples,
    sole_user,
)
from ddpm_lib.config import DEFAULT_PRESETS, PRESETS, DataConfig, InputError
from ddpm_lib.files import unpacked_size, whole_or_not_at_all

HELP = "measure how far generated pictures are from photographs"
MOST = 1000  # samples when --num_samples is not given, or as many as the photographs allow


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("model", type=path, metavar="MODEL", help=MODEL)
    parser.flag("dataset", required=True, choices=sorted(DEFAULT_PRESETS), help="the pictures to compare with")
    add_data_flags(parser)
    parser.flag(
        "held_out", type=path, metavar="PATH", help="archive or folder of images that the model was not trained on"
    )
    parser.flag("image_size", type=COUNT, help="at which photographs are compared, in pixels (default: 64)")
    parser.flag("num_samples", type=COUNT, help=f"seeds 0, 1, ... (default: {MOST}, or half of the dataset if fewer)")
    parser.flag(
        "samples", type=path, metavar="FILE", help="samples.npz of `ddpm generate`, in place of drawing them again"
    )
    parser.flag("features", choices=["auto", "faces", "digits", "inception"], default="auto", help="(default: auto)")
    add_sampler_flags(parser)
    parser.set_defaults(sampler=None)  # so that it is known whether it was given
    parser.flag("batch_size", type=COUNT, help="images drawn at a time (default: 32)")
    parser.flag("out", type=path, required=True, metavar="FOLDER")
    parser.flag("overwrite", action="store_true", help="write over the measurement that --out holds")


def run(flags):
    """Draw or read the samples, compare them with the photographs, and write down what was found."""
    import_keras()

    from ddpm_lib import checkpoints, data, evaluation, hardware, images

    # Everything that can be refused is looked at before anything is drawn.
    if not (flags.model or flags.samples):
        raise InputError("name what to evaluate with --model or --samples")
    if flags.samples:
        _refuse_flags_of_drawing(flags)
    flags.sampler = flags.sampler or "ddpm"
    check_sampler_flags(flags)
    refuse_data_dir_of_digits(flags, flags.dataset)
    _refuse_to_write_over(flags)
    hardware.enable_memory_growth()
    samples, seeded = _read_samples(flags.samples, flags.num_samples) if flags.samples else (None, True)
    config = checkpoints.read_config(flags.model) if flags.model else None
    if config:
        _check_same_kind(flags, config)
    how = {"samples_file": flags.samples}
    if samples is None:
        sampler, options = chosen_sampler(flags, config.diffusion.num_steps)
        how = {"sampler": flags.sampler, **options}
    size, channels = (config.unet.image_size, config.unet.channels) if samples is None else samples.shape[2:]
    unet = _compared_at(flags, size, channels)
    name = evaluation.DEFAULT_FEATURES[flags.dataset] if flags.features == "auto" else flags.features
    network = evaluation.feature_network(name)
    photographs = _photographs(flags, flags.data_dir, unet)
    if flags.held_out and flags.dataset not in ("celeba", "folder"):
        raise InputError(f"--held_out names photographs, but the dataset is {flags.dataset}: leave it out")
    held_out = _photographs(flags, flags.held_out, unet) if flags.held_out else None
    num_samples = flags.num_samples or min(MOST, len(photographs) // 2)
    num_samples = num_samples if samples is None else len(samples)
    evaluation.check_counts(num_samples, len(photographs), None if held_out is None else len(held_out))
    evaluation.check_faces(photographs, network)
    network.features(photographs[:1])  # some are for one size and number of channels
    model = checkpoints.load(flags.model) if flags.model else None
    with sole_user(make_folder(flags.out)) as folder:
        _refuse_to_write_over(flags)  # what another process has measured meanwhile
        if samples is None:
            samples = _draw(model, sampler, options, num_samples, flags.batch_size or 32)
            save_samples(folder, samples, range(num_samples))
        images.save_png(folder / "evaluation.png", images.make_grid(samples[:64]), max(1, 128 // size))
        facts = data.describe(photographs)
        about = {
            "model": flags.model,
            "model_step": model.step if model else None,
            **how,
            "seeds": f"0 to {num_samples - 1}" if seeded else None,
            "enlarged_from": size if size < unet.image_size else None,
            "dataset": flags.dataset,
            **facts,
            "trained_on_these": _trained_on(flags, config, facts, unet) if config else None,
        }
        if about["enlarged_from"]:
            print(f"samples of {size}x{size} are enlarged to {unet.image_size}x{unet.image_size} (Lanczos)")
            samples = images.resize(samples, unet.image_size)
        result = about | evaluation.judge(samples, photographs, network, held_out=held_out, progress=True)
        text = f"{_headline(result, network)}\n\n{evaluation.table(result)}\n\n{_fine_print(result)}\n"
        for name, content in [("evaluation.json", json.dumps(result, indent=1) + "\n"), ("evaluation.txt", text)]:
            with whole_or_not_at_all(folder / name) as temporary:
                temporary.write_text(content, "utf8")
        print(f"\n{text}\nwrote " + ", ".join(str(folder / f"evaluation.{ending}") for ending in ("json", "txt")))


def _refuse_flags_of_drawing(flags):
    for name in ("sampler", "steps", "variance", "eta", "batch_size"):
        if getattr(flags, name) is not None:
            raise InputError(f"--{name} is for drawing, and --samples is drawn already: leave one of them out")


def _refuse_to_write_over(flags):
    refuse_to_write_over(flags, "evaluation.*", *([] if flags.samples else ["samples.*"]))


def _read_samples(path, num_samples):
    import numpy as np

    from ddpm_lib.data.pictures import reason

    if not pathlib.Path(path).is_file():  # a pipe might never end
        raise InputError(f"there is no file {path}")
    try:
        size, unpacked = pathlib.Path(path).stat().st_size, unpacked_size(path)
        if unpacked > 2**28 + 20 * size:  # pictures are seldom packed to a tenth
            raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}")
        with np.load(path) as arrays:
            images, seeds = arrays["images"], arrays.get("seeds")
    except Exception as error:  # whatever a damaged archive leads to
        raise InputError(
            f"{path} is not an .npz file with the array images, as `ddpm generate` writes it: {reason(error)}"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise InputError(f"images in {path} must be uint8 (N, H, W, 1 or 3), found {images.dtype} {images.shape}")
    if images.shape[1] != images.shape[2]:
        raise InputError(f"images in {path} must be square, found {images.shape[2]}x{images.shape[1]}")
    if num_samples and len(images) < num_samples:
        raise InputError(f"{path} holds {len(images):,} samples, fewer than --num_samples {num_samples:,}")
    if seeds is not None and not np.array_equal(seeds, np.arange(len(images))):
        raise InputError(f"{path} must hold the seeds 0, 1, 2, ...: chosen pictures say nothing about a model")
    return images[:num_samples], seeds is not None


def _check_same_kind(flags, config):
    photographs = ("celeba", "folder")
    trained = config.data.dataset
    if trained != flags.dataset and not (trained in photographs and flags.dataset in photographs):
        raise InputError(f"{flags.model} draws other pictures than {flags.dataset}: it was trained on {trained}")


def _compared_at(flags, size, channels):
    """Return a U-Net's configuration with the size and the channels at which samples and dataset are compared."""
    unet = PRESETS[DEFAULT_PRESETS[flags.dataset]].unet
    photographs = flags.dataset in ("celeba", "folder")
    if photographs and flags.image_size:
        unet = dataclasses.replace(unet, image_size=flags.image_size, widths=unet.widths[:1])
    elif flags.image_size not in (None, unet.image_size):
        raise InputError(f"--image_size {flags.image_size} does not fit: {flags.dataset} has {unet.image_size} pixels")
    expected = unet.image_size
    if channels != unet.channels:
        raise InputError(f"samples have {channels} channels, and the pictures of {flags.dataset} have {unet.channels}")
    if size > expected and photographs:
        raise InputError(f"samples of {size}x{size} are larger than {expected}x{expected}: name --image_size {size}")
    if size != expected and not photographs:
        raise InputError(f"samples of {size}x{size} are no pictures of {flags.dataset}, {expected}x{expected}")
    return unet


def _photographs(flags, path, unet):
    from ddpm_lib import data

    return data.load_images(
        DataConfig(flags.dataset, path), unet, cache_dir=flags.cache_dir, max_bad_fraction=flags.max_bad_fraction
    )


def _draw(model, sampler, options, num_samples, batch_size):
    from tqdm import tqdm

    from ddpm_lib import images, sampling

    steps = options["num_steps"] * -(-num_samples // batch_size)
    with tqdm(total=steps, unit="step", desc=f"drawing {num_samples} images") as bar:
        return images.to_uint8(
            sampling.sample_images(
                model,
                sampler,
                range(num_samples),
                batch_size=batch_size,
                callback=lambda step: bar.update(),
                **options,
            )
        )


def _trained_on(flags, config, facts, unet):
    """Say whether the model was trained on these pictures; its own size decides, where that is another one."""
    from ddpm_lib import data

    if config.unet.image_size != unet.image_size:
        facts = data.describe(_photographs(flags, flags.data_dir, config.unet))
    return facts["sha256"] == config.data.sha256


def _headline(result, network):
    crop = result["crop"]["178x218"] if result["dataset"] == "celeba" else None  # a folder may hold any sizes
    how = f"{result['sampler']}, {result['num_steps']} steps" if "sampler" in result else result["samples_file"]
    size, seeds = result["image_size"], f"seeds {result['seeds']}" if result["seeds"] else "seeds unknown"
    return (
        f"{result['model'] or 'samples'}: {result['num_samples']:,} images, {seeds}, {how}\n"
        f"{result['dataset']}: {result['num_photographs']:,} images at {size}x{size}"
        f"{f', crop {crop} of 178x218' if crop else ''}\n"
        f"features {network.name}: {network.about}, {result['num_features']} numbers an image"
    )


def _fine_print(result):
    lines = [
        "The right column has as many photographs in the samples' place: it is the best that samples can do.",
        f"± is the spread over {result['num_splits']} splits of the photographs. A distance of 1 is that of one "
        "picture, again and again.",
        "A copy is a picture whose nearest photograph is three times as near as the second.",
    ]
    if result["num_samples"] <= result["num_features"]:
        lines.append(
            f"{result['num_samples']} images are no more than the {result['num_features']} features: most of a "
            "distance is due to that."
        )
    if result["trained_on_these"] is False:
        lines.append("These are not the very pictures the model was trained on: distances to them show no memorising.")
    return "\n".join(lines)
