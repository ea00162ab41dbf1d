"""One rule for every path: empty is refused, ~ is the user's home, and a home that is not there is one line."""

import pathlib

import numpy as np
import pytest

import ddpm_lib
from ddpm_lib import checkpoints, cli, images, training
from ddpm_lib.cli import conventions
from ddpm_lib.config import InputError
from ddpm_lib.data import prepare
from ddpm_lib.files import user_path
from tests.test_training import new_trainer


def path_flags():
    """List every flag whose metavar says that it takes a path, of every command."""
    commands = next(action.choices for action in cli._parser()._actions if action.dest == "command")
    for command, parser in commands.items():
        for action in parser._actions:
            if action.metavar in ("PATH", "FILE", "FOLDER", "MODEL"):
                yield pytest.param(command, action, id=f"{command} {spelled(action)}")


def spelled(action):
    return action.option_strings[0] if action.option_strings else action.metavar


@pytest.mark.parametrize("command, action", list(path_flags()))
def test_every_path_follows_the_rule(command, action, capsys, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert action.type is conventions.path
    flag = spelled(action)
    assert action.type("~/x") == "/home/someone/x"
    assert action.type("x/~y") == "x/~y"
    for value, part in (("", "a path is empty"), ("~nosuchuser/x", "no home folder ~nosuchuser")):
        with pytest.raises(SystemExit) as exit:
            cli.main([command, f"{flag}={value}" if action.option_strings else value])
        error = capsys.readouterr().err
        assert exit.value.code == 2
        assert part in error and flag in error and error.count("\n") == 1, error


def test_a_path_flag_cannot_hide():
    """A flag of text without choices is a path; number flags and choices are not."""
    commands = next(action.choices for action in cli._parser()._actions if action.dest == "command")
    texts = {
        action.dest
        for parser in commands.values()
        for action in parser._actions
        if action.type is None and action.choices is None and action.nargs is None
    }
    assert not texts


def test_the_library_follows_the_rule(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a") == tmp_path / "a" and user_path(pathlib.Path("b")) == pathlib.Path("b")
    for act in (ddpm_lib.load, checkpoints.read_config, checkpoints.resume, prepare):
        with pytest.raises(InputError, match="a path is empty"):
            act("")
        with pytest.raises(InputError, match="no home folder ~nosuchuser"):
            act("~nosuchuser/x.keras")
        with pytest.raises(InputError, match=rf"there is no .*{tmp_path}/nothing.keras"):
            act("~/nothing.keras")
    with pytest.raises(InputError, match="zero byte"):
        prepare("a\0b")
    trainer, pixel = new_trainer(), np.zeros((1, 1, 1), np.uint8)
    for write in (
        lambda path: checkpoints.save(trainer, path),
        lambda path: checkpoints.SaveCheckpoints(path, 3),
        lambda path: training.History(path, 3),
        lambda path: training.SampleGrid(path, 3),
        lambda path: training.write_history(path, []),
        lambda path: images.save_png(path, pixel),
        lambda path: images.save_gif(path, [pixel]),
        lambda path: images.save_strip(path, [pixel], ["x"]),
    ):
        with pytest.raises(InputError, match="a path is empty"):
            write("")
        with pytest.raises(InputError, match="no home folder ~nosuchuser"):
            write("~nosuchuser/x.keras")
    images.save_png("~/x.png", pixel)
    assert (tmp_path / "x.png").is_file()
    assert training.History("~/run", 3).folder == checkpoints.SaveCheckpoints("~/run", 3).folder == tmp_path / "run"


def test_a_file_may_begin_with_a_tilde(tmp_path, monkeypatch):
    """The way to name it that the message gives is followed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        user_path("~nosuchuser/x")
    assert user_path(str(caught.value).split()[-1]) == tmp_path / "~nosuchuser/x"
