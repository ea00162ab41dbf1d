"""The advice of messages is followed: what it names is cut out of the line, typed, and works.

Other advice is followed where its message is tested: --lr after a run that diverged, --overwrite, --max_bad_fraction.
"""

import math
import re

import numpy as np
import pytest

from ddpm_lib import checkpoints, cli, data, training
from ddpm_lib.config import PRESETS, DataConfig
from ddpm_lib.files import CannotWrite
from tests.data.sources import noise_pictures
from tests.test_cli import use_small_networks

TRAIN = "train --batch_size 8 --steps_per_epoch 1 --epochs"
# What is typed, the advice in the line that answers it, and what is typed next, with the parts of the advice.
ADVICE = {
    "a run is there": ("train --out run", r"with (--resume \S+),", "train {}"),
    "no epochs are left": (
        "train --resume run/latest.keras",
        "name more with (--epochs)$",
        "train --resume run/latest.keras {} 2",
    ),
    "trained": (f"{TRAIN} 1 --out new", r"ddpm (generate .+)$", "{} --steps 1"),
    "exported": ("export --model digits --out small.npz", r"ddpm (generate .+)$", "{} --steps 1"),
    "half precision diverged": (
        f"{TRAIN} 1 --out far --precision mixed_float16",
        "or with (--precision float32)$",
        f"{TRAIN} 1 --out near {{}}",
    ),
    "no room in the run's folder": (
        f"{TRAIN} 2 --out full",
        r"go on with (--resume \S+) and another (--out)$",
        "train {} {} other",
    ),
    "the pictures were moved": (
        "train --resume folder.keras",
        "name the images with (--data_dir)$",
        "train --resume folder.keras {} pictures",
    ),
    "Fashion-MNIST was moved": (
        "train --resume fashion_mnist.keras",
        "or its folder, with (--data_dir)$",
        "train --resume fashion_mnist.keras {} fashion_mnist.npz",
    ),
    "other pictures": (
        "train --resume folder.keras --data_dir others",
        "name the right ones with (--data_dir)$",
        "train --resume folder.keras {} pictures",
    ),
    "the cache would be read": (
        "prepare --image_size 16 --data_dir pictures --cache_dir pictures/cache",
        "name another one with (--cache_dir)$",
        "prepare --image_size 16 --data_dir pictures {} cache",
    ),
    "--out is a picture": (
        "generate --model digits --steps 1 --out pic.png",
        "(leave the ending out)",
        "generate --model digits --steps 1 --out pic",
    ),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A finished run, and two checkpoints of runs that are at their end, with images that lie elsewhere now."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("pictures", "others"):
        noise_pictures(folder / name, 8 if name == "pictures" else 9)
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
    np.savez(folder / "fashion_mnist.npz", x_train=images)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_small_networks(patch)
        assert cli.main([*TRAIN.split(), "1", "--out", "run"]) == 0
        for dataset, preset, place in (
            ("folder", "faces32", "pictures"),
            ("fashion_mnist", "fashion32", "fashion_mnist.npz"),
        ):
            run = PRESETS[preset].replace(train={"epochs": 1, "steps_per_epoch": 1, "batch_size": 8})
            facts = data.describe(data.load_images(DataConfig(dataset, place), run.unet, folder / "cache"))
            lost = str(folder / "lost")
            facts |= {"dataset": dataset, "data_dir": lost, "cache_dir": str(folder / "cache")}
            trainer = training.DiffusionTrainer(run.replace(data=facts))
            trainer.global_step.assign(1)
            checkpoints.save(trainer, f"{dataset}.keras")
    return folder


@pytest.fixture
def misfortune(monkeypatch):
    """Numbers that float16 cannot hold, and a folder "full" where no checkpoint has room."""
    finish, save = training.DiffusionTrainer.finish_epoch, checkpoints.save

    def diverge(trainer):
        row = finish(trainer)
        return row | {"loss": math.nan} if trainer.run.train.precision == "mixed_float16" else row

    def refuse(trainer, path):
        if path.parent.name == "full":
            raise CannotWrite(f"cannot write {path}: No space left on device")
        save(trainer, path)

    monkeypatch.setattr(training.DiffusionTrainer, "finish_epoch", diverge)
    monkeypatch.setattr(checkpoints, "save", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("situation", ADVICE)
def test_advice_is_followed(situation, given, misfortune, capsys, monkeypatch):
    monkeypatch.chdir(given)
    monkeypatch.setattr("tempfile.tempdir", str(given))
    # Of every epoch, samples would be drawn.
    monkeypatch.setattr(training.SampleGrid, "on_epoch_end", lambda *arguments: None)
    use_small_networks(monkeypatch)
    typed, advice, next_typed = ADVICE[situation]
    code = cli.main(typed.split())
    printed = capsys.readouterr()
    line = (printed.err if code else printed.out).splitlines()[-1]
    found = re.search(advice, line)
    assert found, line
    assert cli.main(next_typed.format(*found.groups()).split()) == 0, capsys.readouterr().err
