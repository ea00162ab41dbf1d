"""Runs that draw faces: each is judged as `ddpm evaluate` judges, and kept, so that none is done twice."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

from ddpm_lib import data, evaluation, images
from ddpm_lib.config import PRESETS, DataConfig, InputError
from ddpm_lib.files import whole_or_not_at_all


class JudgedFaces:
    """A folder with the measures of all runs, `results.json`, and of each run the first 16 faces as a picture.

    Args:
        folder: made if it is not there.
        data_dir: archive or folder of photographs.
        **settings: what all runs have in common, beside the photographs; it stands at the head of the results.

    Raises:
        InputError: if the folder holds runs of other settings, or the photographs cannot be read.
    """

    def __init__(self, folder: pathlib.Path, data_dir: str | os.PathLike, **settings):
        self.folder, self.file = folder, folder / "results.json"
        self.photographs = data.load_images(DataConfig("celeba", os.fspath(data_dir)), PRESETS["faces64"].unet)
        settings["sha256"] = data.describe(self.photographs)["sha256"]
        self.results = {**settings, "runs": {}}
        if self.file.exists():
            self.results = json.loads(self.file.read_text("utf8"))
            if any(self.results.get(name) != value for name, value in settings.items()):
                raise InputError(f"{self.file} is of other settings than {settings}: name another --out, or remove it")
        self.network = evaluation.feature_network("faces")
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return name in self.results["runs"]

    def add(self, name: str, drawn: np.ndarray, **facts) -> None:
        """Judge the faces of a run, (N, 64, 64, 3) uint8, write all down with further facts, and print a line."""
        judged = evaluation.judge(drawn, self.photographs, self.network)
        self.results["photographs"] = judged["photographs"]
        picture = f"{name.replace(', ', '_').replace(' ', '_')}.webp"
        images.to_pil(images.make_grid(drawn[:16], 16)).save(self.folder / picture, quality=85, method=6)
        self.results["runs"][name] = {"picture": picture, **facts, **judged["samples"]}
        self.note()
        distance, faces = judged["samples"]["frechet_distance"], judged["samples"]["faces"]
        about = f"distance {distance['mean']:.3f} ± {distance['std']:.3f}, faces {faces:.1%}"
        print(f"{name}: {about}", *(f"{key} {value:,.6g}" for key, value in facts.items()), sep=", ", flush=True)

    def note(self, **facts) -> None:
        """Write the results down, with further facts at their head."""
        self.results |= facts
        with whole_or_not_at_all(self.file) as temporary:  # it may hold the work of days
            temporary.write_text(json.dumps(self.results, indent=1) + "\n", "utf8")
