"""Ship a trained model: its file and its entry in `data/checkpoints/manifest.json`, and the table of the model card.

    python data/ship.py digits runs/digits16/latest.keras --commit HASH

The entry says how the model was made, and what storing its weights as float16 changed: the loss on fixed images, steps
and noise, and pictures drawn from fixed noise, each once with the weights as trained and once as shipped. An exported
file is rounded already; it is shipped without that comparison.
"""

import argparse
import hashlib
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from ddpm_lib import checkpoints, data, diffusion, images, sampling
from ddpm_lib.vetting import is_exported

FOLDER = pathlib.Path(__file__).parent / "checkpoints"
TABLE_MARK = "<!-- This table is written by data/ship.py. -->\n"

# What a checkpoint does not know of itself.
MODELS = {
    "digits": {
        "command": "python train.py",
        "data": {
            "what": "handwritten digits of scikit-learn (UCI, Alpaydin and Kaynak, 1998), 8x8, enlarged to 16x16",
            "count": 1797,
            "terms": "CC BY 4.0",
        },
    },
    "faces": {
        "command": "python train.py --preset faces64 --data_dir img_align_celeba.zip --epochs 54 --out runs/mirrored "
        "&& ddpm export --model runs/mirrored/latest.keras --out mirrored.npz "
        "&& python train.py --resume mirrored.npz --no-mirror --precision mixed_bfloat16 "
        "--data_dir img_align_celeba.zip --epochs 76",
        "data": {
            "what": "photographs of Labeled Faces in the Wild (deep-funneled), cut to the frame of CelebA's pictures "
            "and laid out as CelebA's archive, then cropped and scaled to 64x64; not CelebA itself",
            "count": 11980,
            "terms": "no licence: news photographs, collected for research",
        },
    },
    "faces32": {
        "command": "python train.py --preset faces32 --data_dir img_align_celeba.zip --save_every 100",
        "data": {
            "what": "photographs of Labeled Faces in the Wild (deep-funneled), cut to the frame of CelebA's pictures "
            "and laid out as CelebA's archive, then cropped and scaled to 32x32; not CelebA itself",
            "count": 11980,
            "terms": "no licence: news photographs, collected for research",
        },
    },
}


def main() -> None:
    """Read the command line and ship one model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", choices=list(MODELS))
    parser.add_argument("checkpoint", help="the file that training wrote, or what was exported from it")
    parser.add_argument("--commit", required=True, help="of the code that trained it")
    parser.add_argument("--data_dir", help="where its training images lie now, if they moved")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="where to ship to")
    flags = parser.parse_args()
    if not (flags.folder / "README.md").is_file():
        parser.error(f"no model card {flags.folder / 'README.md'}")

    path = flags.folder / f"{flags.name}.npz"
    checkpoints.export(flags.checkpoint, path)
    entry = describe(flags.name, path, flags.checkpoint, flags.commit, flags.data_dir)
    manifest_path = flags.folder / "manifest.json"
    manifest = json.loads(manifest_path.read_text("utf8")) if manifest_path.is_file() else {}
    manifest = dict(sorted({**manifest, flags.name: entry}.items()))
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n", "utf8")
    write_table(flags.folder / "README.md", manifest)
    print(json.dumps({**entry, "history": f"{len(entry['history'])} rows"}, indent=1))


def describe(name: str, path: pathlib.Path, checkpoint: str, commit: str, data_dir: str | None) -> dict:
    """Return the manifest's entry of an exported file."""
    shipped = checkpoints.load(path)
    config, content = shipped.config, path.read_bytes()
    storage = {"precision": "float16"}
    if not is_exported(checkpoint):  # an exported file is rounded already
        storage |= compare(checkpoints.load(checkpoint), shipped, data_dir)
    history = [{key: round(value, 5) for key, value in row.items()} for row in shipped.rows]
    return {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "weights": shipped.network.count_params(),
        "preset": config.preset,
        "command": MODELS[name]["command"],
        "commit": commit,
        "data": {**MODELS[name]["data"], "sha256": config.data.sha256, "crop": config.data.crop},
        "epochs": len(history),
        "steps": shipped.step,
        "images_seen": shipped.step * config.train.batch_size,
        "loss": {key.replace("loss_", ""): value for key, value in history[-1].items() if key.startswith("loss_")}
        | {"all": history[-1]["loss"]},
        "storage": storage,
        "history": history,
    }


def compare(trained, shipped, data_dir: str | None, num_images: int = 16) -> dict:
    """Return what the shipped weights change: the loss on fixed images, steps and noise, and pictures of 50 DDIM steps.

    Pictures are compared as uint8, so a difference of 1 is 1/255 of the range from black to white.
    """
    config = trained.config.replace(data={"data_dir": data_dir}) if data_dir else trained.config
    x_0 = images.from_uint8(data.load_images(config.data, config.unet)[:256])
    generator = np.random.default_rng(0)
    t = generator.integers(0, trained.schedule.num_steps, len(x_0)).astype("int32")
    noise = generator.standard_normal(x_0.shape, dtype=np.float32)
    x_t = keras.ops.convert_to_numpy(diffusion.add_noise(trained.schedule, x_0, t, noise))

    def loss(model):
        predicted = [
            keras.ops.convert_to_numpy(model.predict_noise(x_t[i : i + 64], t[i : i + 64]))
            for i in range(0, len(t), 64)
        ]
        return float(np.mean((np.concatenate(predicted) - noise) ** 2))

    def pictures(model):
        return images.to_uint8(sampling.sample_images(model, sampling.ddim_sample, range(num_images))).astype(int)

    difference = np.abs(pictures(trained) - pictures(shipped))
    return {
        "loss_as_trained": round(loss(trained), 7),
        "loss_as_shipped": round(loss(shipped), 7),
        "pictures": num_images,
        "max_difference": int(difference.max()),
        "mean_difference": round(float(difference.mean()), 5),
    }


def table(manifest: dict) -> str:
    """Return the model card's table."""
    lines = [
        "| name | weights | file | epochs | images seen | loss | by quarter of t, from little noise to nearly all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in manifest.items():
        loss = entry["loss"]
        quarters = " / ".join(f"{loss[f'q{i}']:.4f}" for i in range(1, 5))
        lines.append(
            f"| `{name}` | {entry['weights']:,} | {entry['bytes'] / 1e6:.1f} MB | {entry['epochs']} "
            f"| {entry['images_seen']:,} | {loss['all']:.4f} | {quarters} |"
        )
    return "\n".join(lines) + "\n"


def write_table(card: pathlib.Path, manifest: dict) -> None:
    """Put the table between its two marks in the model card."""
    before, _, after = card.read_text("utf8").split(TABLE_MARK)
    card.write_text(before + TABLE_MARK + table(manifest) + TABLE_MARK + after, "utf8")


if __name__ == "__main__":
    main()
