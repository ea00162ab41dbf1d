"""Preparing once: the cache folder, whatever stops a preparation, and how many bad pictures are too many."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from ddpm_lib import data
from ddpm_lib.config import InputError
from ddpm_lib.data import open_prepared, prepare, preparing
from tests.data.sources import noise_pictures, prepared, save


@pytest.mark.parametrize("num_bad", [7, 27, 29])
def test_the_share_of_bad_pictures_named_is_always_enough(num_bad):
    skipped = [{"name": "a", "reason": "b"}] * num_bad
    for num_files in range(100, 1100, 17):
        with pytest.raises(InputError) as caught:
            preparing._judge(skipped, num_files, 0.0)
        preparing._judge(skipped, num_files, float(str(caught.value).split()[-1]))


def test_description_names_what_was_done_but_no_path_of_this_machine(source, cache, tmp_path):
    noise_pictures(source, 3)
    path = prepare(source, 32, cache_dir=cache, progress=False)
    text = path.read_text()
    description = json.loads(text)
    assert description["source"] == "pictures"
    assert description["image_size"] == 32
    assert description["crop"] == {"178x218": [15, 35, 163, 183], "other": "largest centred square"}
    assert description["filter"] == "LANCZOS"
    assert description["num_enlarged"] == 0
    assert description["sha256"] == hashlib.sha256(np.load(path.with_suffix(".npy")).tobytes()).hexdigest()
    assert {"ddpm_lib", "numpy", "pillow"} <= set(description["versions"])
    assert str(tmp_path) not in text


def test_the_same_source_and_settings_are_prepared_once(source, cache, capsys, monkeypatch):
    noise_pictures(source, 3)
    first = prepare(source, 32, cache_dir=cache, progress=False)
    capsys.readouterr()
    with monkeypatch.context() as context:
        context.setattr(preparing, "load_picture", lambda *_: pytest.fail("a picture was decoded again"))
        context.setattr(preparing, "_sole_writer", lambda *_: pytest.fail("reading needs no right to write"))
        assert prepare(source, 32, cache_dir=cache, progress=False) == first
    assert "Using 3 images prepared before (0 skipped, ignored 0 other files)" in capsys.readouterr().err
    assert prepare(source, 16, cache_dir=cache, progress=False) != first
    assert prepare(source, 32, crop=(0, 0, 32, 32), cache_dir=cache, progress=False) != first


def test_changed_picture_of_the_same_name_and_size_is_noticed(source, cache, tmp_path):
    for value in (1, 2):
        picture = save(source, "a.bmp", np.full((32, 32, 3), value, np.uint8))
        os.utime(picture, (1e9 + value, 1e9 + value))
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.write(picture, "a.bmp")
        os.utime(archive, (0, 0))
        assert (prepared(source, cache) == value).all()
        assert (prepared(archive, cache) == value).all()


def test_moved_archive_is_recognised(source, cache, tmp_path):
    noise_pictures(source, 2)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.iterdir():
            file.write(path, path.name)
    first = prepare(archive, 32, cache_dir=cache, progress=False)
    (tmp_path / "elsewhere").mkdir()
    moved = archive.rename(tmp_path / "elsewhere" / "a.zip")
    os.utime(moved)
    assert prepare(moved, 32, cache_dir=cache, progress=False) == first


@pytest.mark.parametrize("damage", ["shorter", "empty", "gone", "other shape", "no JSON", "skipped", "sha256", "crop"])
def test_damaged_result_is_not_used_but_made_again(source, cache, damage):
    pixels = noise_pictures(source, 3)
    path = prepare(source, 32, cache_dir=cache, progress=False)
    array_path = path.with_suffix(".npy")
    if damage == "shorter":
        array_path.write_bytes(array_path.read_bytes()[:-1])
    elif damage == "empty":
        array_path.write_bytes(b"")
    elif damage == "gone":
        array_path.unlink()
    elif damage == "other shape":
        np.save(array_path, pixels[:2])
    elif damage == "no JSON":
        path.write_text("{")
    else:  # a key that is missing
        description = json.loads(path.read_text())
        del description[damage]
        path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"does not describe a prepared dataset|the array beside it is"):
        open_prepared(path)
    np.testing.assert_array_equal(prepared(source, cache), pixels)


def test_preparation_stopped_with_ctrl_c_leaves_nothing_behind(source, cache, monkeypatch):
    pixels = noise_pictures(source, 300)
    load, loaded = preparing.load_picture, iter(range(200))

    def load_or_stop(*arguments):
        if next(loaded, None) is None:
            raise KeyboardInterrupt
        return load(*arguments)

    with monkeypatch.context() as context:
        context.setattr(preparing, "load_picture", load_or_stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, 32, cache_dir=cache, progress=False)
    assert [path.name for path in cache.iterdir()] == ["prepare.lock"]
    np.testing.assert_array_equal(prepared(source, cache), pixels)


@pytest.mark.parametrize("num_written", [0, 1])  # the disk is full at the array, or only at its description
def test_full_disk_is_one_clear_line_and_leaves_no_half_result(source, cache, monkeypatch, num_written):
    pixels = noise_pictures(source, 3)
    calls = iter(range(num_written))

    def flush_to_full_disk(_):
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", flush_to_full_disk)
        with pytest.raises(
            InputError, match=r"cannot write to the cache folder .*No space left on device; .*--cache_dir"
        ):
            prepare(source, 32, cache_dir=cache, progress=False)
    assert not list(cache.glob("*.json"))
    assert not list(cache.glob("*.partial"))
    np.testing.assert_array_equal(prepared(source, cache), pixels)


@pytest.mark.slow
def test_killed_preparation_is_never_taken_for_a_whole_one(source, cache):
    pixels = noise_pictures(source, 400)
    script = f"""
import os, signal
from ddpm_lib.data import preparing
load = preparing.load_picture
loaded = iter(range(300))
def load_or_die(*arguments):
    if next(loaded, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(*arguments)
preparing.load_picture = load_or_die
preparing.prepare({str(source)!r}, 32, cache_dir={str(cache)!r}, progress=False)
"""
    assert subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert list(cache.glob("*.partial"))
    assert not list(cache.glob("*.json"))
    others = {"film.mkv.partial", "wallpaper-1920px-x.zip.partial"}
    for name in others:
        (cache / name).touch()
    prepared(source, cache, image_size=8)  # any later preparation tidies up
    assert {path.name for path in cache.glob("*.partial")} == others  # and leaves alone what is not ours
    np.testing.assert_array_equal(prepared(source, cache), pixels)


def test_two_preparations_at_once_do_the_work_once(source, cache, monkeypatch):
    pixels = noise_pictures(source, 5)
    decoding, waiting, loaded = threading.Event(), threading.Event(), []
    load = preparing.load_picture

    def load_slowly(*arguments):
        decoding.set()
        assert waiting.wait(60)
        loaded.append(1)
        return load(*arguments)

    monkeypatch.setattr(preparing, "load_picture", load_slowly)
    monkeypatch.setattr(preparing, "_say", lambda line: waiting.set() if line.startswith("Waiting") else None)
    results = []
    threads = [threading.Thread(target=lambda: results.append(prepared(source, cache))) for _ in range(2)]
    threads[0].start()
    assert decoding.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert len(loaded) == 5
    for result in results:
        np.testing.assert_array_equal(result, pixels)
    assert len(results) == 2


def test_cache_folder_inside_the_source_is_refused(source, cache):
    noise_pictures(source, 1)
    with pytest.raises(InputError, match="lies inside"):
        prepare(source, 32, cache_dir=source / "cache")
    assert not (source / "cache").exists()


def test_cache_folder_that_cannot_be_made_is_one_clear_line(source, tmp_path):
    noise_pictures(source, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the cache folder .*--cache_dir"):
        prepare(source, 32, cache_dir=tmp_path / "file" / "cache")


def test_no_name_of_a_file_moves_the_terminal(source, cache, capsys):
    noise_pictures(source, 1)
    (source / "x.\x1b[2J").touch()
    prepare(source, 32, cache_dir=cache, progress=False)
    assert r"1 .\x1b[2j" in (said := capsys.readouterr().err) and "\x1b" not in said


def test_default_cache_folder_belongs_to_the_user(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / "ddpm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / ".cache" / "ddpm"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data.default_cache_dir() == tmp_path / "Library" / "Caches" / "ddpm"
