"""`ddpm evaluate` as a user runs it: what it writes, that it repeats, one line for every mistake."""

import importlib.util
import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm_lib import cli, evaluation
from ddpm_lib.cli import conventions
from ddpm_lib.evaluation import features
from tests.test_cli import refused
from tests.test_judging import Shrunk, pictures

FAST = ["--num_samples", "60", "--steps", "2"]


class Faces(Shrunk):
    """Takes for a face what has a light middle."""

    name = "faces"

    def is_face(self, images, progress=False):
        middle = images[:, images.shape[1] // 2, images.shape[2] // 2]
        return middle.mean(axis=-1) > 100


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    monkeypatch.setitem(features.FEATURES, "faces", Faces)


@pytest.fixture
def folder(tmp_path):
    """Thirty pictures of 16x16 pixels."""
    return save(tmp_path / "pictures", np.maximum(pictures(30, 16), 101))


def save(path, images):
    path.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(path / f"{index:03d}.png")
    return path


def evaluate(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


@pytest.mark.slow
def test_digits_are_drawn_and_measured(tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate("--model", "digits", "--dataset", "digits", *FAST, "--out", out) == 0
    captured = capsys.readouterr()
    written = {"evaluation.json", "evaluation.txt", "evaluation.png", "samples.npz"}
    assert {path.name for path in out.iterdir()} == written
    result = json.loads((out / "evaluation.json").read_text())
    assert (result["model"], result["model_step"]) == ("digits", 672)
    assert (result["sampler"], result["num_steps"], result["variance"]) == ("ddpm", 2, "posterior")
    assert (result["seeds"], result["num_samples"], result["num_photographs"]) == ("0 to 59", 60, 1797)
    assert result["features"] == "digits" and result["trained_on_these"] is True
    # Two steps make no digits.
    distances = [result[name]["frechet_distance"]["mean"] for name in ("samples", "photographs")]
    assert distances[0] > 1.5 * distances[1] > 0
    text = (out / "evaluation.txt").read_text()
    assert "60 images are no more than the 64 features" in text
    assert text in captured.out and f"{distances[1]:.4f} ±" in text
    assert "drawing 60 images: 100%" in captured.err and "splits: 100%" in captured.err

    # The seeds of `generate`, in other batches; and read again they measure the same.
    assert (
        cli.main(["generate", "--model", "digits", *FAST, "--batch_size", "25", "--out", str(tmp_path / "drawn")]) == 0
    )
    drawn, own = (np.load(path / "samples.npz")["images"].astype(int) for path in (tmp_path / "drawn", out))
    assert np.abs(drawn - own).max() <= 2
    again = ["--samples", out / "samples.npz", "--dataset", "digits", "--out", tmp_path / "again"]
    assert evaluate(*again) == 0
    repeated = json.loads((tmp_path / "again/evaluation.json").read_text())
    for name in ("samples", "photographs"):
        assert repeated[name] == result[name]
    assert repeated["model"] is None and repeated["trained_on_these"] is None

    # Beside the samples, but never over another measurement or over pictures.
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    beside = ["--samples", tmp_path / "drawn/samples.npz", "--dataset", "digits", "--out", tmp_path / "drawn"]
    assert evaluate(*beside) == 0
    assert "--overwrite" in refused(capsys, "evaluate", *again[:-1], out)
    model = ["--model", "digits", "--dataset", "digits", *FAST, "--out"]
    for name in ("evaluation.json", "evaluation.txt", "evaluation.png"):
        (tmp_path / "drawn" / name).unlink()
    assert "samples.npz already" in refused(capsys, "evaluate", *model, tmp_path / "drawn")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with conventions.sole_user(out):
        assert "another run is writing" in refused(capsys, "evaluate", *again[:-1], out, "--overwrite")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert evaluate(*again[:-1], out, "--overwrite") == 0


def test_small_samples_are_enlarged_and_it_is_said(folder, tmp_path, capsys):
    np.savez(tmp_path / "small.npz", images=np.maximum(pictures(12, 8), 101))
    arguments = ["--samples", tmp_path / "small.npz", "--dataset", "folder", "--data_dir", folder, "--image_size", 16]
    assert evaluate(*arguments, "--cache_dir", tmp_path / "cache", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "samples of 8x8 are enlarged to 16x16 (Lanczos)" in said and "12 images, seeds unknown" in said
    assert "folder: 30 images at 16x16\n" in said, "no picture there has CelebA's size"
    result = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (result["enlarged_from"], result["image_size"], result["features"]) == (8, 16, "faces")
    assert result["seeds"] is None, "nobody knows whether they were chosen"
    assert result["crop"]["other"] == "largest centred square" and result["photographs"]["faces"] == 1.0


def test_held_out_photographs_tell_a_memory(folder, tmp_path, capsys):
    other = save(tmp_path / "other", pictures(30, 16))
    stored = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])
    np.savez(tmp_path / "copies.npz", images=stored[:15], seeds=np.arange(15))
    arguments = ["--samples", tmp_path / "copies.npz", "--dataset", "folder", "--data_dir", folder]
    sizes = ["--image_size", 16, "--cache_dir", tmp_path / "cache"]
    assert evaluate(*arguments, *sizes, "--held_out", other, "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert result["held_out"]["nearer_to_training"] == 1.0 and result["samples"]["nearest"]["copies"] == 15
    assert "held-out one, of 30 each: 100.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--dataset", "digits"], "--model or --samples"),
        (["--model", "digits"], "--dataset"),
        (["--model", "nowhere.npz", "--dataset", "digits"], "nowhere.npz"),
        (["--model", "digits", "--dataset", "celeba"], "trained on digits"),
        (["--model", "digits", "--dataset", "fashion_mnist"], "trained on digits"),
        (["--model", "faces", "--dataset", "celeba"], "--data_dir"),
        (["--model", "faces", "--dataset", "folder", "--data_dir", "nowhere"], "nowhere"),
        (["--model", "digits", "--dataset", "digits", "--num_samples", "5"], "5 samples are too few"),
        (["--model", "digits", "--dataset", "digits", "--num_samples", "900"], "1,797 photographs are too few"),
        (["--model", "digits", "--dataset", "digits", "--image_size", "64"], "digits has 16 pixels"),
        (["--model", "digits", "--dataset", "digits", "--steps", "1001"], "1000"),
        (["--model", "digits", "--dataset", "digits", "--sampler", "ddpm", "--eta", "1"], "--sampler ddim"),
        (["--model", "digits", "--dataset", "digits", "--features", "clip"], "inception"),
        (["--model", "digits", "--dataset", "digits", "--held_out", "x"], "--held_out"),
        (["--samples", "nowhere.npz", "--dataset", "digits"], "nowhere.npz"),
        (["--samples", "x.npz", "--dataset", "digits", "--steps", "7"], "--steps is for drawing"),
        (["--samples", "x.npz", "--dataset", "digits", "--sampler", "ddpm"], "--sampler is for drawing"),
        (["--model", "digits", "--dataset", "digits", "--variance", "beta", "--sampler", "ddim"], "--sampler ddpm"),
        (["--model", "digits", "--dataset", "digits", "--data_dir", "x"], "the digits need no --data_dir x"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, "evaluate", *arguments, "--out", "out")
    assert not (tmp_path / "out").exists()


GREY = np.zeros((12, 16, 16, 1), np.uint8)


@pytest.mark.parametrize(
    "arrays, part",
    [
        ({"pictures": GREY}, "the array images"),
        ({"images": GREY.astype(np.float32)}, "must be uint8"),
        ({"images": GREY[:, :12]}, "must be square, found 16x12"),
        ({"images": GREY[:, :0, :0]}, r"found uint8 (12, 0, 0, 1)"),
        ({"images": np.zeros((12, 32, 32, 1), np.uint8)}, "32x32 are no pictures of digits"),
        ({"images": np.zeros((12, 8, 8, 1), np.uint8)}, "8x8 are no pictures of digits"),
        ({"images": np.zeros((12, 16, 16, 3), np.uint8)}, "3 channels"),
        ({"images": GREY, "seeds": np.arange(1, 13)}, "the seeds 0, 1, 2"),
        ({"images": GREY[:4]}, "4 samples are too few"),
    ],
)
def test_samples_that_cannot_be_used_get_one_line(arrays, part, capsys, tmp_path):
    np.savez(tmp_path / "samples.npz", **arrays)
    arguments = ["--samples", tmp_path / "samples.npz", "--dataset", "digits", "--out", tmp_path / "out"]
    assert part in refused(capsys, "evaluate", *arguments)


def test_a_file_with_fewer_samples_than_asked_for_is_refused(capsys, tmp_path):
    np.savez(tmp_path / "samples.npz", images=GREY)
    arguments = ["--samples", tmp_path / "samples.npz", "--dataset", "digits", "--out", tmp_path / "out"]
    assert "12 samples, fewer than --num_samples 20" in refused(capsys, "evaluate", *arguments, "--num_samples", 20)
    (tmp_path / "text.npz").write_text("no archive")
    arguments[1] = tmp_path / "text.npz"
    assert "text.npz is not an .npz file" in refused(capsys, "evaluate", *arguments)


def test_a_pipe_and_a_bomb_are_refused_unread(capsys, tmp_path, monkeypatch):
    path = tmp_path / "samples.npz"
    arguments = ["--samples", path, "--dataset", "digits", "--out", tmp_path / "out"]
    os.mkfifo(path)
    assert f"there is no file {path}" in refused(capsys, "evaluate", *arguments)
    path.unlink()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    monkeypatch.setattr(np, "load", lambda *_: pytest.fail("it was read"))
    assert path.stat().st_size < 2**20
    assert f"unpack to {300 * 2**20:,}" in refused(capsys, "evaluate", *arguments)


def test_a_missing_package_is_named_before_a_photograph_is_read(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(features.FEATURES, "faces", evaluation.faces.FaceNetworks)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "mtcnn" else find(name, *more))
    arguments = ["--model", "faces", "--dataset", "folder", "--data_dir", folder, "--cache_dir", tmp_path / "cache"]
    line = refused(capsys, "evaluate", *arguments, "--out", tmp_path / "out")
    assert "mtcnn, which is not installed: pip install --no-deps mtcnn==" in line
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()


def test_what_judging_would_refuse_is_refused_before_anything_is_drawn(folder, tmp_path, capsys):
    few = save(tmp_path / "few", pictures(9, 16))
    np.savez(tmp_path / "samples.npz", images=pictures(12, 16))
    arguments = ["--samples", tmp_path / "samples.npz", "--dataset", "folder", "--data_dir", folder, "--image_size", 16]
    arguments += ["--cache_dir", tmp_path / "cache", "--out", tmp_path / "out"]
    assert "9 held-out photographs are too few" in refused(capsys, "evaluate", *arguments, "--held_out", few)
    assert "16x16 pictures with 3 channels" in refused(capsys, "evaluate", *arguments, "--features", "digits")
    assert not (tmp_path / "out").exists()


def test_pictures_without_faces_are_refused(tmp_path, capsys):
    dark = save(tmp_path / "dark", pictures(30, 16) // 4)
    np.savez(tmp_path / "samples.npz", images=pictures(12, 16))
    arguments = ["--samples", tmp_path / "samples.npz", "--dataset", "folder", "--data_dir", dark, "--image_size", 16]
    line = refused(capsys, "evaluate", *arguments, "--cache_dir", tmp_path / "cache", "--out", tmp_path / "out")
    assert "only 0% of these pictures hold a face" in line and not (tmp_path / "out").exists()
