"""The commands as a user runs them: files, exit codes, one line for every mistake."""

import functools
import importlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ddpm_lib import checkpoints, cli, config, sampling
from ddpm_lib.cli import conventions, generate, train

ROOT = pathlib.Path(__file__).parents[1]
# Networks of few weights in the place of the presets': what is tested is the command around them.
SMALL = {"widths": (8,), "blocks_per_level": 1, "heads": 2, "attention_dim": 8, "time_dim": 16}
WITH_SMALL_NETWORKS = f"""
import runpy, sys
from ddpm_lib import config
for name in ("digits16", "faces32"):
    config.PRESETS[name] = config.PRESETS[name].replace(unet={SMALL})
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
"""
TRAIN = ["train", "--batch_size", "8", "--steps_per_epoch", "2", "--seed", "3"]


def run(*arguments, cwd=ROOT, env=None):
    """Run a command in a process of its own."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def use_small_networks(patch):
    for name in ("digits16", "faces32", "fashion32"):
        patch.setitem(config.PRESETS, name, config.PRESETS[name].replace(unet=SMALL))


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    use_small_networks(monkeypatch)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A short run of the embedded default, by the top-level script."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = run("-c", WITH_SMALL_NETWORKS, *TRAIN[1:], "--epochs", 2, "--out", folder)
    assert result.returncode == 0, result.stderr
    assert "ddpm generate --num_samples 16 --model" in result.stdout
    assert result.stderr == "", "the libraries' own lines reach the terminal"
    return folder


def refused(capsys, *arguments):
    """Run a command that must be refused, and return its one line."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as exit:  # argparse
        code = exit.code
    captured = capsys.readouterr()
    assert code == 2, captured
    lines = captured.err.strip().splitlines()
    assert "Traceback" not in captured.err
    assert "error:" in lines[-1], captured.err
    return lines[-1]


@pytest.mark.slow
def test_a_run_folder_is_complete(run_folder):
    names = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert names == {
        "config.json",
        "history.csv",
        "loss.png",
        "latest.keras",
        "unet_epoch_1.keras",
        "unet_epoch_2.keras",
        "samples/epoch_1.png",
        "samples/epoch_2.png",
    }
    config = json.loads((run_folder / "config.json").read_text())
    assert config["preset"] == "digits16" and config["train"]["batch_size"] == 8


@pytest.mark.slow
def test_generate_writes_grid_and_array(run_folder, tmp_path):
    result = run(
        *("generate.py", "--num-samples", 5, "--model", run_folder / "unet_epoch_2.keras", "--batch-size", 2),
        *("--steps", 3, "--out", tmp_path / "out", "--trajectory"),
    )
    assert result.returncode == 0, result.stderr
    arrays = np.load(tmp_path / "out/samples.npz")
    assert arrays["images"].shape == (5, 16, 16, 1) and arrays["images"].dtype == np.uint8
    assert arrays["seeds"].tolist() == [0, 1, 2, 3, 4]
    assert Image.open(tmp_path / "out/samples.png").size == ((3 * 17 - 1) * 6, (2 * 17 - 1) * 6)
    assert (tmp_path / "out/trajectory.png").is_file()
    assert Image.open(tmp_path / "out/trajectory.gif").n_frames >= 3


@pytest.mark.slow
def test_same_seed_same_image_whatever_the_batch(run_folder, tmp_path):
    model = run_folder / "latest.keras"
    common = ["generate", "--model", str(model), "--steps", "4", "--sampler", "ddpm"]
    assert cli.main([*common, "--num_samples", "4", "--batch_size", "4", "--out", str(tmp_path / "a")]) == 0
    assert cli.main([*common, "--num_samples", "1", "--seed", "3", "--out", str(tmp_path / "b")]) == 0
    one, other = (np.load(tmp_path / name / "samples.npz")["images"].astype(int) for name in "ab")
    assert np.abs(one[3] - other[0]).max() <= 2


def test_dpm_solver_takes_20_steps_by_default(run_folder, tmp_path, capsys):
    model = ["--model", str(run_folder / "latest.keras"), "--out", str(tmp_path / "out")]
    assert cli.main(["generate", *model, "--sampler", "dpm++", "--num_samples", "2"]) == 0
    assert "dpm++, 20 steps: 100%" in capsys.readouterr().err
    assert np.load(tmp_path / "out/samples.npz")["images"].shape == (2, 16, 16, 1)


@pytest.mark.slow
@pytest.mark.parametrize("steps, frames", [(1, 2), (3, 4), (4, 5)])
def test_the_strip_shows_no_frame_twice(run_folder, tmp_path, steps, frames):
    """One step has a beginning and an end; with three no frame of their own is nearest to t = 500."""
    model = ["--model", str(run_folder / "latest.keras"), "--out", str(tmp_path / "out")]
    assert cli.main(["generate", *model, "--num_samples", "2", "--steps", str(steps), "--trajectory"]) == 0
    frame, gap = 16 * 6, 4
    assert Image.open(tmp_path / "out/trajectory.png").width == frames * (frame + gap) - gap
    assert Image.open(tmp_path / "out/trajectory.gif").n_frames == steps + 1


@pytest.mark.parametrize("steps, frames", [(50, 51), (100, 51), (119, 61), (1000, 60)])
def test_the_film_of_many_steps_stays_short(tmp_path, steps, frames):
    trajectory, rng = generate.Trajectory(1000, num_images=1), np.random.default_rng(0)
    x_T, *walk = rng.uniform(-1, 1, (steps + 1, 1, 8, 8, 1)).astype("float32")
    for t, x in zip(np.linspace(1000, 0, steps + 1).round().astype(int)[1:], walk, strict=True):
        trajectory.record(types.SimpleNamespace(x=x, t_next=int(t) - 1))
    trajectory.save(tmp_path, x_T, scale=1)
    assert Image.open(tmp_path / "trajectory.gif").n_frames == frames


@pytest.mark.slow
@pytest.mark.parametrize("finished, kept", [(0, "none"), (2, "4")])
def test_ctrl_c_keeps_the_finished_images(run_folder, tmp_path, capsys, monkeypatch, finished, kept):
    model = ["generate", "--model", str(run_folder / "latest.keras"), "--steps", "2", "--batch_size", "2"]
    assert cli.main([*model, "--num_samples", "4", "--out", str(tmp_path / "whole")]) == 0
    sampler, calls = sampling.ddpm_sample, []

    @functools.wraps(sampler)
    def interrupted(*arguments, **options):
        if len(calls) == finished:
            raise KeyboardInterrupt  # what Ctrl-C raises, unless the tests themselves run in the background
        calls.append(1)
        return sampler(*arguments, **options)

    monkeypatch.setattr(sampling, "ddpm_sample", interrupted)
    capsys.readouterr()
    assert cli.main([*model, "--num_samples", "10", "--out", str(tmp_path / "part")]) == 130
    assert f"ddpm generate: interrupted, kept {kept} of 10 images" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "part/samples.png").exists() == (tmp_path / "part/samples.npz").exists() == (finished > 0)
    if finished:
        part, whole = (np.load(tmp_path / name / "samples.npz") for name in ("part", "whole"))
        assert np.array_equal(part["images"], whole["images"]) and part["seeds"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "flags, sampler, options",
    [
        ([], "ddpm_sample", {"num_steps": 100, "variance": "posterior"}),
        (["--steps", "1000"], "ddpm_sample", {"num_steps": 1000, "variance": "beta"}),
        (["--variance", "beta"], "ddpm_sample", {"num_steps": 100, "variance": "beta"}),
        (["--sampler", "ddim"], "ddim_sample", {"num_steps": 50, "eta": 0.0}),
        (["--sampler", "dpm++"], "dpm_solver_pp_sample", {"num_steps": 20}),
    ],
)
def test_what_draws_when_nothing_else_is_said(flags, sampler, options):
    parsed = cli._parser().parse_args(["generate", *flags])
    assert conventions.chosen_sampler(parsed, 1000) == (getattr(sampling, sampler), options)


@pytest.mark.slow
def test_resuming_goes_on_in_the_same_folder(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    assert cli.main(["train", "--resume", "run/unet_epoch_1.keras", "--epochs", "2"]) == 0
    assert (tmp_path / "run/history.csv").read_text() == (run_folder / "history.csv").read_text()
    resumed, whole = (checkpoints.resume(folder / "unet_epoch_2.keras") for folder in (tmp_path / "run", run_folder))
    difference = [
        np.abs(a - b).max() for a, b in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True)
    ]
    assert max(difference) < 1e-6


def test_flags_that_contradict_the_checkpoint_name_both_values(run_folder, capsys):
    latest = run_folder / "latest.keras"
    for flag, value, stored in [
        ("--batch_size", 16, "8"),
        ("--lr", 0.5, "0.001"),
        ("--min_snr_gamma", 5.0, "None"),
        ("--seed", 9, "3"),
        ("--preset", "celeba64", "digits16"),
        ("--dataset", "fashion_mnist", "digits"),
        ("--precision", "mixed_bfloat16", "float32"),
        ("--steps-per-epoch", 5, "2"),
    ]:
        line = refused(capsys, "train", "--resume", latest, flag, value)
        assert str(value) in line and stored in line, line
    line = refused(capsys, "train", "--resume", latest, "--rematerialize")
    assert "--rematerialize contradicts the checkpoint, which has rematerialize False" in line


@pytest.mark.slow
def test_resuming_on_other_images_is_refused(capsys, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for i in range(4):
            picture = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
    cache = ["--cache_dir", tmp_path / "cache"]
    flags = ["--preset", "faces32", "--batch_size", 4, "--epochs", 1, "--out", tmp_path / "run", *cache]
    command = ["train", "--dataset", "folder", "--data_dir", tmp_path / "one", *flags]
    assert cli.main([str(part) for part in command]) == 0
    assert "centred square" in (said := capsys.readouterr().out) and "not mirrored (see --mirror)" in said
    config = checkpoints.read_config(tmp_path / "run/latest.keras")
    assert config.data.crop["178x218"] == [15, 35, 163, 183]
    assert config.data.cache_dir == str(tmp_path / "cache"), "a resumed run would prepare its images anew"
    assert not config.data.horizontal_flip, "faces32 mirrors, and a folder may hold text"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    assert cli.main(["train", "--resume", str(tmp_path / "run/latest.keras")]) == 0
    assert "Prepared" not in capsys.readouterr().err and not (tmp_path / "users").exists()
    resume = ["train", "--resume", tmp_path / "run/latest.keras", "--epochs", 2, *cache]
    assert "not the images" in refused(capsys, *resume, "--data_dir", tmp_path / "other")
    assert "--mirror contradicts the checkpoint, which has no-mirror" in refused(capsys, *resume, "--mirror")


@pytest.mark.parametrize(
    "arguments, mirrored",
    [
        (["--dataset", "folder"], False),
        (["--dataset", "folder", "--preset", "celeba64"], False),
        (["--dataset", "folder", "--mirror"], True),
        (["--dataset", "celeba"], True),
        (["--dataset", "celeba", "--no-mirror"], False),
        (["--preset", "faces64"], True),
        (["--dataset", "fashion_mnist"], False),
        ([], False),
    ],
)
def test_only_faces_are_mirrored_unless_asked(arguments, mirrored):
    config = train._new_config(cli._parser().parse_args(["train", *arguments]), "float32", False)
    assert config.data.horizontal_flip is mirrored
    assert ("half of them mirrored (--no-mirror: none)" in train._treatment(config)) is mirrored
    assert "mirror)" not in train._treatment(config, settled=True), "a checkpoint's run goes on as it began"


def test_a_run_folder_that_is_a_link_to_itself_is_one_line(run_folder, tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    line = refused(capsys, "train", "--resume", run_folder / "latest.keras", "--epochs", 3, "--out", tmp_path / "loop")
    assert f"cannot write to the folder {tmp_path}/loop" in line


def test_images_that_are_not_the_checkpoint_s_are_refused_with_advice_that_the_dataset_takes():
    digits = config.DataConfig("digits", sha256="a" * 64)
    for stored, part in [
        (digits, "start a new run"),
        (config.DataConfig("folder", sha256="a" * 64), "with --data_dir"),
        (config.DataConfig("digits"), "x.keras does not say which images it was trained on"),  # saved in Python
    ]:
        with pytest.raises(config.InputError, match=part):
            train._refuse_other_images("x.keras", "b" * 64, stored)
    train._refuse_other_images("x.keras", "a" * 64, digits)


def test_an_exported_file_is_not_written_over_unless_asked(tmp_path, capsys):
    command = ["export", "--model", "digits", "--out", str(tmp_path / "small.npz")]
    (tmp_path / "small.npz").write_text("somebody's")
    assert "--overwrite" in refused(capsys, *command)
    assert (tmp_path / "small.npz").read_text() == "somebody's"
    assert cli.main([*command, "--overwrite"]) == 0
    assert checkpoints.load(tmp_path / "small.npz").step == checkpoints.load("digits").step


def test_an_existing_run_is_not_overwritten(run_folder, capsys):
    before = (run_folder / "latest.keras").read_bytes()
    assert "--resume" in refused(capsys, *TRAIN, "--out", run_folder)
    other = run_folder.parent / "other"
    other.mkdir()
    shutil.copy(run_folder / "unet_epoch_1.keras", other)
    refused(capsys, "train", "--resume", other / "unet_epoch_1.keras", "--epochs", 3, "--out", run_folder)
    assert (run_folder / "latest.keras").read_bytes() == before


def test_a_finished_run_is_left_as_it_is(run_folder, capsys):
    before = (run_folder / "config.json").read_text()
    assert cli.main(["train", "--resume", str(run_folder / "latest.keras"), "--epochs", "1"]) == 0
    assert "has had 2 epochs" in capsys.readouterr().out
    assert (run_folder / "config.json").read_text() == before


def test_an_unknown_backend_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert "theano" in refused(capsys, "info")


def test_runs_without_a_name_get_new_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as threads:  # eight runs that start at once
        folders = list(threads.map(conventions.new_folder, ["runs/digits16"] * 8))
    assert sorted(map(str, folders)) == ["runs/digits16", *(f"runs/digits16-{number}" for number in range(2, 9))]
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["train", "--dataset", "celeba"], "--data_dir"),
        (["train", "--dataset", "celeba", "--data_dir", "nowhere"], "nowhere"),
        (["train", "--dataset", "folder", "--data_dir", "."], "no image"),
        (["train", "--batch_size", "0"], "at least 1"),
        (["train", "--batch_size", "x"], "not a number"),
        (["train", "--batch_size", "5000"], "1797"),
        (["train", "--preset", "huge"], "celeba64"),
        (["train", "--dataset", "digits", "--preset", "celeba64"], "64"),
        (["train", "--lr", "-1"], "more than 0"),
        (["train", "--lr", "nan"], "finite"),
        (["train", "--seed", "4294967296"], "at most 4294967295"),
        (["train", "--data_dir", "faces.zip"], "--dataset"),
        (["train", "--resume", "nowhere.keras"], "nowhere.keras"),
        (["prepare", "--data_dir", "x", "--max_bad_fraction", "7"], "at most 1.0"),
        (["export"], "--model"),
        (["generate", "--model", "nowhere.keras"], "nowhere.keras"),
        (["prepare"], "--data_dir"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, *arguments)
    assert not list(tmp_path.rglob("*.keras"))


def test_generate_refuses_impossible_settings(run_folder, capsys, tmp_path):
    model = ["generate", "--model", run_folder / "latest.keras", "--out", tmp_path / "out"]
    assert "1000" in refused(capsys, *model, "--steps", 1001)
    assert "at least 1" in refused(capsys, *model, "--num_samples", 0)
    for sampler in ("ddpm", "dpm++"):
        assert "ddim" in refused(capsys, *model, "--sampler", sampler, "--eta", 0.5)
    for sampler in ("ddim", "dpm++"):
        assert "ddpm" in refused(capsys, *model, "--sampler", sampler, "--variance", "beta")
    assert "dpm++" in refused(capsys, *model, "--sampler", "dpm")
    assert not (tmp_path / "out").exists()
    assert "leave the ending out" in refused(capsys, *model[:-1], tmp_path / "pic.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_images_are_not_written_over_unless_asked(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["generate", "--model", str(run_folder / "latest.keras"), "--steps", "1", "--num_samples", "2"]
    assert cli.main(command) == 0 and cli.main([*command, "--seed", "7", "--separate"]) == 0
    assert {path.name for path in (tmp_path / "generated").iterdir()} == {"samples.npz", "samples.png"}
    singles = [np.asarray(Image.open(tmp_path / f"generated-2/seed_{seed}.png")) for seed in (7, 8)]
    np.testing.assert_array_equal(np.stack(singles), np.load("generated-2/samples.npz")["images"][..., 0])
    before = (tmp_path / "generated/samples.npz").read_bytes()
    assert "--overwrite" in refused(capsys, *command, "--out", "generated", "--seed", "7")
    assert (tmp_path / "generated/samples.npz").read_bytes() == before
    assert cli.main([*command, "--out", "generated", "--seed", "7", "--overwrite"]) == 0
    assert np.load("generated/samples.npz")["seeds"].tolist() == [7, 8]
    assert cli.main([*command, "--out", "generated-2", "--overwrite"]) == 0
    left = {path.name for path in (tmp_path / "generated-2").iterdir()}
    assert left == {"samples.npz", "samples.png"}, "the pictures of the seeds 7 and 8 would pass for the new ones"
    assert "seeds 0 to 1 by ddpm, 1 steps, variance posterior" in capsys.readouterr().out
    for name in ("seed_9.png", "trajectory.gif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        assert f"holds {name} already" in refused(capsys, *command, "--out", name + "/")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys, run_folder):
    (tmp_path / "file").write_text("not a folder")
    assert "--out" in refused(capsys, *TRAIN, "--out", tmp_path / "file" / "run")
    assert "--out" in refused(capsys, "generate", "--model", run_folder / "latest.keras", "--out", tmp_path / "file")


def test_a_missing_backend_is_one_line():
    result = run("train.py", env={"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT / "tests/no_tensorflow")})
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("ddpm train: error: tensorflow is not installed")


@pytest.mark.slow
def test_ctrl_c_saves_and_exits_with_130(tmp_path):
    length = ["--epochs", "1000", "--steps_per_epoch", "2"]
    command = [sys.executable, "train.py", "--batch_size", "8", *length, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/history.csv").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors
    assert checkpoints.resume(tmp_path / "run/latest.keras").step >= 2


@pytest.mark.parametrize(
    "command, advice",
    [
        ("train", "try a smaller --batch_size"),
        # --batch_size would contradict the checkpoint.
        ("train --resume x.keras", "end other programs, or start a new run with a smaller --batch_size"),
        ("generate", "try a smaller --batch_size"),
        ("evaluate --dataset digits --out x", "try a smaller --batch_size"),
        ("prepare --data_dir x", "end other programs"),
        ("export --model x --out x.npz", "end other programs"),
        ("info", "end other programs"),
    ],
)
def test_a_full_memory_is_one_line_with_advice_that_the_command_takes(monkeypatch, capsys, command, advice):
    def fill_memory(flags):
        raise RuntimeError("RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[16,8,1024,1024]")

    module = importlib.import_module(f"ddpm_lib.cli.{command.split()[0]}")
    monkeypatch.setattr(module, "run", fill_memory)
    assert refused(capsys, *command.split()).endswith(f"out of memory; {advice}")


def test_a_word_with_oom_in_it_is_no_full_memory(monkeypatch):
    def fail(flags):
        raise RuntimeError("no room for a zoom")

    monkeypatch.setattr(importlib.import_module("ddpm_lib.cli.info"), "run", fail)
    with pytest.raises(RuntimeError, match="zoom"):
        cli.main(["info"])


@pytest.mark.parametrize("text, printed", [("a\x1b[2Jb", r"a\x1b[2Jb"), ("one\ntwo", "one\ntwo")])
def test_an_error_moves_no_cursor_and_keeps_its_lines(monkeypatch, capsys, text, printed):
    def fail(flags):
        raise config.InputError(text)

    monkeypatch.setattr(importlib.import_module("ddpm_lib.cli.info"), "run", fail)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == f"ddpm info: error: {printed}\n"


@pytest.mark.parametrize("allocate", [np.empty, bytearray])
def test_a_full_memory_outside_the_backend_is_one_line_too(monkeypatch, capsys, allocate):
    monkeypatch.setattr(importlib.import_module("ddpm_lib.cli.info"), "run", lambda flags: allocate(2**50))
    assert "out of memory; end other programs" in refused(capsys, "info")


def test_info_describes_machine_and_checkpoint(run_folder, capsys):
    assert cli.main(["info", "--model", str(run_folder / "latest.keras")]) == 0
    text = capsys.readouterr().out
    assert "Keras" in text and "step 4" in text and '"batch_size": 8' in text


@pytest.mark.slow
def test_prepare_then_train_from_a_folder(tmp_path, capsys, monkeypatch):
    (tmp_path / "pictures").mkdir()
    generator = np.random.default_rng(0)
    for i in range(9):
        Image.fromarray(generator.integers(0, 256, (70, 80, 3), dtype=np.uint8)).save(tmp_path / f"pictures/{i}.png")
    common = ["--data_dir", str(tmp_path / "pictures"), "--cache_dir", str(tmp_path / "cache")]
    assert cli.main(["prepare", *common, "--image_size", "32"]) == 0
    flags = ["--preset", "faces32", "--batch_size", "4", "--steps_per_epoch", "1", "--epochs", "1"]
    assert cli.main(["train", "--dataset", "folder", *common, *flags, "--out", str(tmp_path / "run")]) == 0
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1, "prepared twice"
    assert (tmp_path / "run/unet_epoch_1.keras").is_file()
