"""Run configurations: presets, round trip, and refusal of what is not understood."""

import json

import pytest

from ddpm_lib.config import DEFAULT_PRESETS, PRESETS, DiffusionConfig, InputError, RunConfig, UNetConfig


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
