"""Run configurations: presets, round trip, and refusal of what is not understood."""

import json

import numpy as np
import pytest

from ddpm_lib.config import (
    DEFAULT_PRESETS,
    PRESETS,
    SCHEDULES,
    DataConfig,
    DiffusionConfig,
    InputError,
    RunConfig,
    TrainConfig,
    UNetConfig,
)
from ddpm_lib.schedules import build_schedule


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    preset = PRESETS[name]
    assert preset.preset == name
    assert RunConfig.from_json(preset.to_json()) == preset


def test_every_dataset_has_a_preset_that_fits_it():
    assert set(DEFAULT_PRESETS.values()) <= set(PRESETS)
    assert PRESETS["celeba64"].unet.widths == (32, 64, 128, 256)
    assert PRESETS["celeba64"].train.batch_size == 16
    assert PRESETS["celeba64"].train.learning_rate == 2e-4


def test_unknown_and_missing_keys_are_named():
    values = PRESETS["digits16"].to_dict()
    values["train"]["learning_rat"] = 1.0
    with pytest.raises(InputError, match=r"learning_rat.*train"):
        RunConfig.from_dict(values)
    del values["train"]
    with pytest.raises(InputError, match="train"):
        RunConfig.from_dict(values)
    with pytest.raises(InputError):
        RunConfig.from_dict(json.loads("[1]"))


def test_impossible_networks_are_refused():
    with pytest.raises(InputError, match="multiple of 8"):
        UNetConfig(image_size=60)
    with pytest.raises(InputError, match="divisible by groups"):
        UNetConfig(widths=(32, 64, 127), groups=2)
    with pytest.raises(InputError, match="heads"):
        UNetConfig(heads=7)
    with pytest.raises(InputError, match="heads must be at least 1"):
        UNetConfig(heads=0)
    with pytest.raises(InputError, match="JSON"):
        RunConfig.from_json("hello")
    with pytest.raises(InputError, match="even"):
        UNetConfig(time_dim=63)
    with pytest.raises(InputError, match=r"multiple of 16.*folding 2x2"):
        UNetConfig(image_size=72, patch=2)
    with pytest.raises(InputError, match=r"prediction 'score'.*noise, v"):
        DiffusionConfig(prediction="score")


def test_replace_changes_only_what_it_names():
    changed = PRESETS["digits16"].replace(train={"seed": 7})
    assert changed.train.seed == 7
    assert changed.replace(train={"seed": 0}) == PRESETS["digits16"]


@pytest.mark.parametrize(
    "kind, values, message",
    [
        (UNetConfig, {"dropout": 1.5}, "dropout must be at most"),
        (UNetConfig, {"image_size": 64.0}, "image_size must be int, got 64.0"),
        (UNetConfig, {"widths": ()}, r"widths must name 1\.\.11 levels, got 0"),
        (UNetConfig, {"widths": [32, 64]}, "widths must be tuple"),
        (UNetConfig, {"widths": (32, "64")}, "widths must be tuple"),
        (UNetConfig, {"heads": True}, "heads must be int"),
        (UNetConfig, {"blocks_per_level": 10**6}, "blocks_per_level must be at most"),
        (UNetConfig, {"time_dim": 10**9}, "time_dim must be at most"),
        (UNetConfig, {"attention_resolutions": (0,)}, "attention_resolutions must be at least 1"),
        (DiffusionConfig, {"kind": "parabola"}, "unknown schedule kind 'parabola': .*linear, cosine, sigmoid"),
        (DiffusionConfig, {"num_steps": 0}, "num_steps must be at least 1"),
        (DiffusionConfig, {"num_steps": 10**10}, "num_steps must be at most"),
        (DiffusionConfig, {"beta_start": "x"}, "beta_start must be finite float, got 'x'"),
        (DiffusionConfig, {"beta_end": float("nan")}, "beta_end must be finite float"),
        (DiffusionConfig, {"num_steps": 100_000}, "num_steps 100000, .* leave nothing of an image .*: take"),
        (DiffusionConfig, {"beta_start": 0.9}, "beta_start 0.9 .* leave nothing of an image"),
        (DataConfig, {"dataset": "mnist"}, "unknown dataset 'mnist': choose one of digits, fashion_mnist"),
        (DataConfig, {"horizontal_flip": "no"}, "horizontal_flip must be bool"),
        (DataConfig, {"crop": [1, 2]}, "crop must be dict"),
        (TrainConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (TrainConfig, {"steps_per_epoch": 0}, "steps_per_epoch must be at least 1"),
        (TrainConfig, {"learning_rate": float("inf")}, "learning_rate must be finite float"),
        (TrainConfig, {"precision": "float64"}, "unknown precision 'float64'"),
        (TrainConfig, {"ema_decay": 1.1}, "ema_decay must be at most 1"),
        (TrainConfig, {"seed": -1}, "seed must be at least 0"),
        (RunConfig, {"preset": None}, "preset must be str"),
        (RunConfig, {"preset": "../../x"}, r"preset must be 1\.\.64 letters, digits, - or _, got '\.\./"),
        (RunConfig, {"preset": "a\n"}, "preset must be 1"),
        (RunConfig, {"preset": "x" * 65}, "preset must be 1"),
        (RunConfig, {"unet": {"image_size": 64}}, "unet must be UNetConfig"),
    ],
)
def test_fields_of_the_wrong_type_or_size_are_named(kind, values, message):
    with pytest.raises(InputError, match=message) as caught:
        kind(**values)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 2, 3000, 100_000])
def test_a_schedule_that_is_taken_leaves_something_to_divide_by(kind, num_steps):
    betas = (0.9999, 0.9999) if num_steps < 3 else (1e-4, 0.02) if num_steps < 10_000 else (1e-5, 1.6e-3)
    schedule = build_schedule(**DiffusionConfig(kind, num_steps, *betas).schedule)
    assert np.float32(np.sqrt(schedule.alpha_bars[-1])) > 1e-19


def test_a_section_that_is_no_dictionary_is_named():
    for section in (3, "abc", [1], None):
        values = {**PRESETS["digits16"].to_dict(), "unet": section}
        with pytest.raises(InputError, match="section 'unet' must be a dictionary"):
            RunConfig.from_dict(values)
