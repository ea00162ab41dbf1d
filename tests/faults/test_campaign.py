"""Generated bad inputs: success, or one line (a documented exception); never a traceback, a hang or a wrong result.

The inputs are drawn from a fixed seed. `DDPM_CAMPAIGN=20` makes the campaign twenty times as long.
"""

import argparse
import dataclasses
import io
import json
import os
import random
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm_lib import checkpoints, cli, images, schedules, vetting
from ddpm_lib.config import PRESETS, InputError, RunConfig
from ddpm_lib.data.pictures import FORMATS, load_picture

LENGTH = int(os.environ.get("DDPM_CAMPAIGN", "1"))
ODD = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**31, 10**30, -(10**30), 0.0, 0.5, 1.5, -0.5, 1e-300, 1e300),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "1", "linear", "../..", "a\0b", "\ud800", "ü" * 5000),
    *([], [0], [1, 2], [None], ["x"], [[]], [1e9], [True], {}, {"a": 1}, {"": {}}, [1] * 1000),
]
TEXTS = [
    *("", " ", "x", "-", "--", "0", "-1", "1e3", "1.5", "nan", "inf", "-inf", "1e400", "9" * 400, "0x10", "1_000", "١"),
    *("~", "~nosuchuser", "/", "//", "..", "/dev/null", "a\nb", "ü", "\udcff", "x" * 5000, "$HOME", "'", "a=b", "%s"),
]


def fields():
    base = RunConfig().to_dict()
    sections = [name for name, value in base.items() if isinstance(value, dict)]
    own = [(None, name) for name in base if name not in sections]
    return own + [(section, name) for section in sections for name in base[section]]


@pytest.mark.parametrize("section, name", fields())
def test_any_value_of_any_field_is_taken_or_refused_in_one_line(section, name):
    for value in ODD:
        values = PRESETS["digits16"].to_dict()
        (values[section] if section else values)[name] = value
        try:
            config = RunConfig.from_dict(values)
        except InputError as error:
            assert name in str(error) or "image_size" in str(error) or "divisible" in str(error), (value, error)
            assert str(error).isprintable() and len(str(error)) < 300
            continue
        # What is taken survives being written and read again, and means the same.
        assert RunConfig.from_json(config.to_json()) == config, value
        assert type(getattr(getattr(config, section) if section else config, name)) in (type(value), tuple), value


def commands():
    choices = next(action.choices for action in cli._parser()._actions if action.dest == "command")
    return [
        pytest.param(command, action, id=f"{command} {action.option_strings[0]}")
        for command, parser in choices.items()
        for action in parser._actions
        if action.option_strings and not isinstance(action, argparse._HelpAction)
    ]


@pytest.mark.parametrize("command, action", commands())
def test_any_text_for_any_flag_is_taken_or_refused_in_one_line(command, action, capsys):
    for text in TEXTS:
        try:
            flags = cli._parser().parse_args([command, f"{action.option_strings[0]}={text}"])
        except SystemExit as exit:
            assert exit.code == 2
            lines = capsys.readouterr().err.splitlines()
            assert f"ddpm {command}: error:" in "".join(lines) and "Traceback" not in "".join(lines)
            continue
        value = getattr(flags, action.dest)
        assert isinstance(value, str) or np.isfinite(value), text


@pytest.mark.parametrize(
    "function",
    [
        lambda value: schedules.NoiseSchedule(value),
        lambda value: schedules.build_schedule(value),
        lambda value: schedules.timestep_subsequence(10, 3, value),
        lambda value: images.to_uint8(value),
    ],
    ids=["NoiseSchedule", "build_schedule", "timestep_subsequence", "to_uint8"],
)
def test_public_functions_raise_what_they_say(function):
    for value in ODD:
        try:
            result = function(value)
        except (ValueError, TypeError):  # the second for what has not even the right type
            continue
        for table in ("betas", "alpha_bars"):
            assert np.isfinite(getattr(result, table, 0.0)).all(), value


def mutated(content, generator):
    """Return a copy with bytes changed, cut out, repeated or overwritten."""
    content = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        place = generator.randrange(len(content) or 1)
        kind = generator.randrange(4)
        if kind == 0:
            content[place : place + 1] = bytes([generator.randrange(256)])
        elif kind == 1:
            content[place : place + generator.randint(1, 50)] = b""
        elif kind == 2:
            content[place:place] = content[place : place + generator.randint(1, 50)]
        else:
            content[place : place + 4] = generator.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
    return bytes(content)


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_pictures_are_pictures_or_one_reason(format):
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {format}")
    generator = random.Random(format)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    assert load_picture(file.getvalue(), 16, None)[0].shape == (16, 16, 3)
    for _ in range(40 * LENGTH):
        try:
            result, _ = load_picture(mutated(file.getvalue(), generator), 16, None)
        except MemoryError:
            raise
        except Exception:  # what `prepare` takes for a bad picture, and names
            continue
        assert result.shape == (16, 16, 3) and result.dtype == np.uint8


@pytest.mark.parametrize("kind", ["keras", "npz"])
def test_damaged_checkpoints_are_refused_in_one_line(kind, tmp_path):
    generator = random.Random(kind)
    content = {"config": PRESETS["digits16"].to_dict(), "rows": [], "step": 3}
    path = tmp_path / f"x.{kind}"
    if kind == "npz":
        np.savez(path, about=np.array(json.dumps(content).encode()), weights=np.zeros(10**6, np.float16))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps({"class_name": vetting.TRAINER, "config": content}))
            archive.writestr("model.weights.h5", bytes(2 * 10**6))
    whole = path.read_bytes()
    assert checkpoints.read_config(path) == PRESETS["digits16"]
    start = whole.index(b"digits16")
    for _ in range(200 * LENGTH):
        # In the description mostly, and somewhere in the archive.
        part = mutated(whole[start - 200 : start + 1500], generator)
        path.write_bytes(whole[: start - 200] + part + whole[start + 1500 :])
        if generator.random() < 0.3:
            path.write_bytes(mutated(whole, generator))
        try:
            config = checkpoints.read_config(path)
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)
        else:
            assert dataclasses.is_dataclass(config)
