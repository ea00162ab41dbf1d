"""Preparing pictures, loading datasets and serving batches, on synthetic pictures and, where it is at hand, on CelebA.

The tests on the real archive read the folder that the environment variable DDPM_DATA_DIR names: it may hold
`img_align_celeba.zip`, `lfw64.zip` (the same faces, prepared elsewhere) and `fashion_mnist.npz`.
"""

import errno
import hashlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from ddpm_lib import data
from ddpm_lib.config import DataConfig, InputError, UNetConfig
from ddpm_lib.data import Batches, load_images, open_prepared, prepare, preparing

REAL_DATA = Path(os.environ.get("DDPM_DATA_DIR", "nowhere"))


def real(name):
    return pytest.mark.skipif(not (REAL_DATA / name).exists(), reason=f"DDPM_DATA_DIR names no folder with {name}")


def save(folder, name, pixels, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    picture.save(path, **options)
    return path


def noise_pictures(folder, count, size=32):
    """Write `count` PNGs of random pixels, which survive preparing at their own size unchanged."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for index, picture in enumerate(pixels):
        save(folder, f"{index:06d}.png", picture)
    return pixels


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def prepared(source, cache, image_size=32, **options):
    return open_prepared(prepare(source, image_size, cache_dir=cache, progress=False, **options))


# --- what becomes of a picture ---


def test_pixels_of_the_right_size_pass_unchanged_and_in_the_order_of_names(source, cache):
    pixels = noise_pictures(source, 300)  # several chunks, and the last one not full
    array = prepared(source, cache)
    assert array.dtype == np.uint8
    assert not array.flags.writeable
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, pixels)


def test_folder_at_any_depth_and_archive_give_the_same_array(source, cache, tmp_path):
    noise_pictures(source / "b" / "c", 3)
    noise_pictures(source / "a", 2)
    save(source, "notes.png.bak", np.zeros((9, 9), np.uint8), format="PNG")
    save(source, ".hidden/x.png", np.zeros((9, 9), np.uint8))
    save(source, "__MACOSX/._000000.png", np.zeros((9, 9), np.uint8))
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*.*"), reverse=True):
            file.write(path, path.relative_to(source))
    from_folder = prepare(source, 32, cache_dir=cache, progress=False)
    from_archive = prepare(archive, 32, cache_dir=cache, progress=False)
    assert from_folder != from_archive
    array = open_prepared(from_folder)
    assert len(array) == 5
    np.testing.assert_array_equal(array, open_prepared(from_archive))
    np.testing.assert_array_equal(array[:2], array[2:4])  # a/000000, a/000001, b/c/000000, ...
    assert json.loads(from_folder.read_text())["num_ignored_files"] == 3


def test_folder_that_holds_the_archive_stands_for_the_archive(source, cache):
    with zipfile.ZipFile(source / "img_align_celeba.zip", "w") as archive:
        picture = io.BytesIO()
        Image.new("RGB", (178, 218), "red").save(picture, "PNG")
        archive.writestr("img_align_celeba/000001.png", picture.getvalue())
    assert prepared(source, cache).shape == (1, 32, 32, 3)


def test_default_crop_of_celeba_is_its_centre_148(source, cache):
    marker = np.zeros((218, 178, 3), np.uint8)
    marker[35:183, 15:163] = 255
    save(source, "inside.png", marker)
    save(source, "outside.png", 255 - marker)
    quarter = np.zeros((218, 178, 3), np.uint8)
    quarter[35:109, 15:89] = (255, 0, 0)  # the top left quarter of the crop
    save(source, "quarter.png", quarter)
    inside, outside, quarter = prepared(source, cache, 64)
    assert (inside == 255).all()
    assert (outside == 0).all()  # not one pixel from outside, not even through the filter
    assert (quarter[:28, :28] == (255, 0, 0)).all()
    assert (quarter[36:] == 0).all()
    assert (quarter[:, 36:] == 0).all()


@pytest.mark.parametrize("width, height", [(100, 60), (60, 100), (218, 178)])
def test_default_crop_of_other_pictures_is_the_largest_centred_square(source, cache, width, height):
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    marker = np.zeros((height, width), np.uint8)
    marker[top : top + side, left : left + side] = 255
    save(source, "a.png", marker)
    save(source, "b.png", 255 - marker)
    inside, outside = prepared(source, cache)
    assert (inside == 255).all()
    assert (outside == 0).all()


def test_given_crop_is_used_for_every_picture_and_recorded(source, cache):
    pixels = noise_pictures(source, 1, size=40)
    path = prepare(source, 32, cache_dir=cache, crop=(3, 5, 35, 37), progress=False)
    np.testing.assert_array_equal(open_prepared(path)[0], pixels[0, 5:37, 3:35])
    assert json.loads(path.read_text())["crop"] == [3, 5, 35, 37]
    with pytest.raises(InputError, match="too small for the crop: 40x40"):
        prepare(source, 32, cache_dir=cache, crop=(0, 0, 41, 41), progress=False)
    for box in [(0, 0, 10, 11), (5, 5, 5, 5), (-1, 0, 9, 10)]:
        with pytest.raises(InputError, match="square"):
            prepare(source, 32, cache_dir=cache, crop=box)


def test_resizing_averages_a_checkerboard_to_grey(source, cache):
    save(source, "a.png", (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8))
    (image,) = prepared(source, cache, 32)
    assert np.abs(image.astype(int) - 127.5).max() < 5  # picking pixels without a filter gives 0 or 255


def test_smaller_pictures_are_enlarged_and_that_is_said_once(source, cache, capsys):
    for name in "ab":
        save(source, f"{name}.png", np.full((16, 16, 3), 77, np.uint8))
    path = prepare(source, 32, cache_dir=cache, progress=False)
    assert (open_prepared(path) == 77).all()
    assert json.loads(path.read_text())["num_enlarged"] == 2
    assert capsys.readouterr().err.count("enlarged") == 1


def test_every_kind_of_picture_becomes_rgb(source, cache):
    solid = Image.new("RGB", (32, 32), (10, 200, 30))
    save(source, "1_grey.png", Image.new("L", (32, 32), 90))
    save(source, "2_palette.gif", solid.convert("P", palette=Image.Palette.ADAPTIVE))
    save(source, "3_opaque.png", Image.new("RGBA", (32, 32), (10, 200, 30, 255)))
    save(source, "4_transparent.png", Image.new("RGBA", (32, 32), (0, 0, 0, 0)))
    save(source, "5_grey_alpha.png", Image.new("LA", (32, 32), (0, 51)))
    save(source, "6_sixteen_bits.png", np.full((32, 32), 257 * 90, np.uint16))
    save(source, "7_black_and_white.png", Image.new("1", (32, 32), 1))
    save(source, "8_cmyk.jpg", Image.new("CMYK", (32, 32), (0, 0, 0, 0)), quality=95)
    save(source, "9_webp.webp", solid, lossless=True)
    expected = [
        (90, 90, 90),
        (10, 200, 30),
        (10, 200, 30),
        (255, 255, 255),
        (204, 204, 204),  # black at 51/255 = 20 % over white
        (90, 90, 90),
        (255, 255, 255),
        (255, 255, 255),
        (10, 200, 30),
    ]
    array = prepared(source, cache)
    assert array.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(array, np.array(expected)[:, None, None] + np.zeros_like(array))


def test_pictures_lying_on_their_side_are_turned_upright(source, cache):
    upright = np.zeros((218, 178, 3), np.uint8)
    upright[35:109] = (0, 0, 255)  # the upper half of the default crop
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show": stored rotated the other way
    stored = Image.fromarray(np.rot90(upright).copy())
    save(source, "a.png", stored, exif=exif)
    (image,) = prepared(source, cache)
    assert (image[:13] == (0, 0, 255)).all()
    assert (image[19:] == 0).all()


# --- bad pictures ---


def write_bad_pictures(folder):
    photo = save(folder, "x.jpg", np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    encoded = photo.read_bytes()
    photo.unlink()
    (folder / "bad_1_truncated.jpg").write_bytes(encoded[: len(encoded) // 2])
    (folder / "bad_2_empty.png").write_bytes(b"")
    (folder / "bad_3_text.jpg").write_text("<html>Quota exceeded</html>")
    save(folder, "bad_4_tiny.png", np.zeros((7, 100), np.uint8))
    (folder / "bad_5_dangling.jpg").write_bytes(b"\xff\xd8\xff")
    # Pillow would pass this one to another program; the ending promises a JPEG.
    (folder / "bad_6_program.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n")
    return 6


def test_bad_pictures_are_skipped_counted_and_named(source, cache, capsys):
    pixels = noise_pictures(source, 24)
    num_bad = write_bad_pictures(source)
    path = prepare(source, 32, cache_dir=cache, max_bad_fraction=0.2, progress=False)
    np.testing.assert_array_equal(open_prepared(path), pixels)
    description = json.loads(path.read_text())
    assert description["count"] == 24
    assert [entry["name"][:5] for entry in description["skipped"]] == [f"bad_{n}" for n in range(1, num_bad + 1)]
    reasons = [entry["reason"] for entry in description["skipped"]]
    assert "truncated" in reasons[0]
    assert reasons[3] == "too small: 100x7 pixels"
    # No address of an object in memory: the description is the same every time.
    assert reasons[1] == reasons[2] == reasons[4] == reasons[5] == "cannot identify image file"
    said = capsys.readouterr().err
    assert "Skipped 6 of 30" in said
    assert "bad_1_truncated.jpg" in said


def test_too_many_bad_pictures_stop_with_one_line_that_says_how_to_go_on(source, cache):
    noise_pictures(source, 24)
    write_bad_pictures(source)
    with pytest.raises(InputError) as caught:
        prepare(source, 32, cache_dir=cache, progress=False)
    message = str(caught.value)
    assert "6 of 30" in message
    assert "bad_1_truncated.jpg" in message
    assert message.endswith("--max_bad_fraction 0.2")
    assert "\n" not in message
    assert not list(cache.glob("pictures*"))
    assert len(prepared(source, cache, max_bad_fraction=0.2)) == 24  # the number it named is enough


@pytest.mark.parametrize("num_bad", [7, 27, 29])
def test_the_share_of_bad_pictures_named_is_always_enough(num_bad):
    skipped = [{"name": "a", "reason": "b"}] * num_bad
    for num_files in range(100, 1100, 17):
        with pytest.raises(InputError) as caught:
            preparing._judge(skipped, num_files, 0.0)
        preparing._judge(skipped, num_files, float(str(caught.value).split()[-1]))


def test_no_usable_picture_at_all_is_an_error_whatever_is_allowed(source, cache):
    write_bad_pictures(source)
    with pytest.raises(InputError, match="none of the 6 images could be used; the first is 'bad_1_truncated"):
        prepare(source, 32, cache_dir=cache, max_bad_fraction=1.0, progress=False)
    with pytest.raises(InputError, match=r"max_bad_fraction must be in 0\.\.1, got 5"):
        prepare(source, 32, cache_dir=cache, max_bad_fraction=5)


def test_damaged_member_of_an_archive_is_one_bad_picture(source, cache, tmp_path):
    pixels = noise_pictures(source, 3)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.iterdir()):
            file.write(path, path.name)
        offset = file.getinfo("000001.png").header_offset + 300  # in the middle of the picture
    content = bytearray(archive.read_bytes())
    content[offset] ^= 255
    archive.write_bytes(content)
    path = prepare(archive, 32, cache_dir=cache, max_bad_fraction=0.5, progress=False)
    np.testing.assert_array_equal(open_prepared(path), pixels[[0, 2]])
    (skipped,) = json.loads(path.read_text())["skipped"]
    assert skipped["name"] == "000001.png"
    assert "CRC" in skipped["reason"]


# --- bad sources ---


def empty_archive(folder):
    path = folder / "img.zip"
    zipfile.ZipFile(path, "w").close()
    return path


def archive_without_images(folder):
    path = folder / "img.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("list_attr_celeba.txt", "1 2 3")
    return path


def truncated_archive(folder):
    path = folder / "img.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.jpg", bytes(10_000))
    path.write_bytes(path.read_bytes()[:5000])
    return path


def empty_file(folder):
    (folder / "img.zip").write_bytes(b"")
    return folder / "img.zip"


def web_page(folder):
    (folder / "img.zip").write_text("<html>Quota exceeded</html>")
    return folder / "img.zip"


def folder_of_text(folder):
    (folder / "README.txt").write_text("no image")
    return folder


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: folder / "missing.zip", "there is no file or folder"),
        (lambda folder: folder / ("x" * 300), "cannot read .*File name too long"),
        (lambda folder: folder, r"holds no images \(0 other files\)"),
        (folder_of_text, r"holds no images \(1 other files\)"),
        (empty_archive, r"holds no images \(0 other files\)"),
        (archive_without_images, r"holds no images \(1 other files\)"),
        (empty_file, r"\(0 bytes\) is not a complete zip archive: download it again"),
        (web_page, r"\(27 bytes\) is not a complete zip archive: download it again"),
        (truncated_archive, r"\(5,000 bytes\) is not a complete zip archive: download it again"),
    ],
)
def test_bad_source_is_one_clear_line(source, cache, make, message):
    with pytest.raises(InputError, match=message) as caught:
        prepare(make(source), 32, cache_dir=cache, progress=False)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


# --- the cache ---


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
    assert "Using 3 images prepared before (0 skipped)" in capsys.readouterr().err
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


@pytest.mark.parametrize("damage", ["shorter", "gone", "other shape", "no JSON"])
def test_damaged_result_is_not_used_but_made_again(source, cache, damage):
    pixels = noise_pictures(source, 3)
    path = prepare(source, 32, cache_dir=cache, progress=False)
    array_path = path.with_suffix(".npy")
    if damage == "shorter":
        array_path.write_bytes(array_path.read_bytes()[:-1])
    elif damage == "gone":
        array_path.unlink()
    elif damage == "other shape":
        np.save(array_path, pixels[:2])
    else:
        path.write_text("{")
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
    prepared(source, cache, image_size=8)  # any later preparation tidies up
    assert not list(cache.glob("*.partial"))
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


def test_default_cache_folder_belongs_to_the_user(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / "ddpm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / ".cache" / "ddpm"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data.default_cache_dir() == tmp_path / "Library" / "Caches" / "ddpm"


# --- datasets ---

DIGITS = UNetConfig(16, 1, (32, 64), attention_resolutions=())
FASHION = UNetConfig(32, 1, (32, 64, 128), attention_resolutions=())
FACES = UNetConfig(32, 3, (32, 64, 128), attention_resolutions=())


def test_digits_are_scikit_learns_enlarged_twice():
    from sklearn.datasets import load_digits

    images = load_images(DataConfig("digits"), DIGITS)
    assert images.shape == (1797, 16, 16, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    # Keys' cubic with a = -1/2 at the distances 1.25, 0.25, 0.75 and 1.75 pixels, by hand, away from the border.
    weights = np.zeros((16, 8))
    for k in range(2, 6):
        weights[2 * k + 1, k - 1 : k + 3] = -0.0703125, 0.8671875, 0.2265625, -0.0234375
        weights[2 * k, k - 2 : k + 2] = -0.0234375, 0.2265625, 0.8671875, -0.0703125
    expected = np.einsum("ha,wb,nab->nhw", weights, weights, load_digits().images) * 255 / 16
    inside = slice(4, 12)
    difference = images[:, inside, inside, 0] - np.clip(expected, 0, 255)[:, inside, inside]
    assert np.abs(difference).max() < 0.51  # rounding


@pytest.fixture
def fashion(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "fashion_mnist.npz", x_train=images, y_train=np.arange(5))
    return tmp_path, images


def test_fashion_mnist_is_padded_with_black(fashion):
    folder, images = fashion
    for where in (folder, folder / "fashion_mnist.npz"):
        padded = load_images(DataConfig("fashion_mnist", str(where)), FASHION)
        assert padded.shape == (5, 32, 32, 1)
        assert padded.dtype == np.uint8
        np.testing.assert_array_equal(padded[:, 2:-2, 2:-2, 0], images)
        assert padded.sum() == images.sum()


def test_bad_fashion_mnist_is_one_clear_line(tmp_path, monkeypatch):
    path = tmp_path / "fashion_mnist.npz"
    config = DataConfig("fashion_mnist", str(tmp_path))
    with pytest.raises(InputError, match=r"there is no file .*fashion_mnist\.npz"):
        load_images(config, FASHION)
    for content in (b"", b"not an archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not Fashion-MNIST"):
            load_images(config, FASHION)
    np.savez(path, y_train=np.arange(3))
    with pytest.raises(InputError, match=r"is not Fashion-MNIST as an \.npz file with x_train"):
        load_images(config, FASHION)
    np.savez(path, x_train=np.zeros((3, 32, 32)))
    with pytest.raises(InputError, match=r"must be uint8 \(N, 28, 28\), found float64 \(3, 32, 32\)"):
        load_images(config, FASHION)


def test_failed_download_is_one_clear_line(monkeypatch):
    def fail():
        raise Exception("URL fetch failure on https://example.org: None --\n[Errno -3] Temporary failure")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", fail)
    with pytest.raises(InputError, match=r"could not be downloaded \(URL fetch failure.*--data_dir") as caught:
        load_images(DataConfig("fashion_mnist"), FASHION)
    assert "\n" not in str(caught.value)


def test_download_is_used_where_no_folder_is_named(monkeypatch):
    images = np.ones((2, 28, 28), np.uint8)
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: ((images, None), (None, None)))
    assert load_images(DataConfig("fashion_mnist"), FASHION).sum() == 2 * 28 * 28


@pytest.mark.parametrize("dataset", ["celeba", "folder"])
def test_folders_of_pictures_are_prepared_and_mapped(source, cache, dataset):
    pixels = noise_pictures(source, 4)
    images = load_images(DataConfig(dataset, str(source)), FACES, cache, progress=False)
    assert isinstance(images, np.memmap)
    np.testing.assert_array_equal(images, pixels)


@pytest.mark.parametrize(
    "config, unet, message",
    [
        (
            DataConfig("celeba"),
            FACES,
            r"CelebA is not included.*--data_dir.*mmlab.*quota.*jessicali9530/celeba-dataset",
        ),
        (DataConfig("folder"), FACES, "needs --data_dir"),
        (DataConfig("mnist"), FACES, "unknown dataset 'mnist'"),
        (DataConfig("digits"), FASHION, "digits images are 16x16, but the network expects 32x32"),
        (DataConfig("fashion_mnist"), DIGITS, "fashion_mnist images are 32x32, but the network expects 16x16"),
        (DataConfig("celeba"), FASHION, "celeba images have 3 channels, but the network expects 1"),
        (DataConfig("digits"), UNetConfig(16, 3, (32, 64)), "digits images have 1 channels, but the network expects 3"),
    ],
)
def test_dataset_that_does_not_fit_is_one_clear_line(config, unet, message):
    with pytest.raises(InputError, match=message) as caught:
        load_images(config, unet)
    assert "\n" not in str(caught.value)


# --- batches ---


def numbered_images(count, size=4):
    """Images that tell their own number, dark on the left, so that a mirrored one shows."""
    images = np.zeros((count, size, size, 1), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[:, :, -1] += 100
    return images


def numbers(batch):
    return np.rint((batch.min(axis=(1, 2, 3)) + 1) * 127.5).astype(int)


def test_batches_are_float32_from_minus_one_to_one():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = 255
    batch = Batches(images, 2, seed=0)[0]
    assert batch.dtype == np.float32
    assert batch.shape == (2, 4, 4, 3)
    assert {batch[0].min(), batch[0].max(), batch[1].min(), batch[1].max()} == {-1.0, 1.0}
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    back = (Batches(every_value, 1, seed=0)[0] + 1) * 127.5
    np.testing.assert_array_equal(np.rint(back), every_value)


def test_an_epoch_visits_each_image_once_and_drops_what_fills_no_batch():
    batches = Batches(numbered_images(31), 5, seed=3)
    assert batches.steps_per_epoch == 6
    assert batches.num_batches is None
    epochs = [np.concatenate([numbers(batches[6 * epoch + i]) for i in range(6)]) for epoch in range(40)]
    for epoch in epochs:
        assert len(set(epoch)) == 30
    assert len({tuple(epoch) for epoch in epochs}) == 40  # never the same order twice
    assert set.intersection(*map(set, epochs)) != set.union(*map(set, epochs))  # not always the same one is left out
    assert set.union(*map(set, epochs)) == set(range(31))


def test_batches_depend_on_seed_and_step_alone():
    images = numbered_images(20)
    options = {"seed": 5, "horizontal_flip": True}
    whole = Batches(images, 4, **options)
    expected = [whole[step] for step in range(17)]
    for step in (16, 3, 11, 0):  # in any order
        np.testing.assert_array_equal(whole[step], expected[step])
    resumed = Batches(images, 4, start_step=7, **options)  # in the middle of an epoch
    for index in range(10):
        np.testing.assert_array_equal(resumed[index], expected[7 + index])
    other_seed = Batches(images, 4, seed=6, horizontal_flip=True)
    assert any((other_seed[step] != expected[step]).any() for step in range(5))
    np.testing.assert_array_equal(images, numbered_images(20))  # the source is left alone


def test_flips_mirror_half_of_the_images_left_to_right_anew_each_epoch():
    images = numbered_images(100)
    batches = Batches(images, 10, seed=0, horizontal_flip=True)
    flipped = np.zeros((20, 100), bool)
    for step in range(200):
        batch = batches[step]
        which = batches.image_indices(step)
        is_flipped = batch[:, 0, 0, 0] > batch[:, 0, -1, 0]
        originals = images[which]
        originals[is_flipped] = originals[is_flipped, :, ::-1]
        np.testing.assert_array_equal(np.rint((batch + 1) * 127.5), originals)
        flipped[step // 10, which] = is_flipped
    assert 0.45 < flipped.mean() < 0.55  # 2,000 tosses: 0.5 with standard deviation 0.011
    assert not np.array_equal(flipped[0], flipped[1])
    assert flipped.any(axis=0).all()  # every image was seen both ways
    assert not flipped.all(axis=0).any()
    plain = Batches(images, 10, seed=0)
    np.testing.assert_array_equal(plain.image_indices(3), batches.image_indices(3))  # flips do not change the order


@pytest.mark.parametrize("batch_size", [0, -1, 9])
def test_impossible_batch_size_names_both_numbers(batch_size):
    with pytest.raises(InputError, match=rf"batch_size must be in 1\.\.8, .* got {batch_size}$"):
        Batches(numbered_images(8), batch_size, seed=0)


def test_negative_seed_or_step_is_refused():
    with pytest.raises(InputError, match="got -1 and 0"):
        Batches(numbered_images(8), 2, seed=-1)
    with pytest.raises(InputError, match="got 0 and -1"):
        Batches(numbered_images(8), 2, seed=0, start_step=-1)


FIT = """
import keras, numpy as np
from keras import ops
from ddpm_lib.data import Batches

# Eight images of one pixel with the values 1, 2, 4, ..., 128: the sum of a batch tells which images it holds.
images = (2 ** np.arange(8)).astype(np.uint8).reshape(8, 1, 1, 1)

class Recorder(keras.Model):
    '''Writes the sum of the batch of its k-th step to place k.'''
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.sums = self.add_weight(shape=(30,), initializer="zeros", trainable=False)
        self.built = True
    def call(self, x, training=False):
        if training:
            here = ops.cast(ops.arange(30) == self.step, "float32")
            self.sums.assign(self.sums + here * ops.sum((x + 1) * 127.5))
            self.step.assign(self.step + 1)
        return self.scale * x
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred) * 0.0

batches = Batches(images, 3, seed=1, start_step=5)
model = Recorder()
model.compile(optimizer="sgd")
# Every call of fit starts at item 0 again; within a call the items go on from epoch to epoch.
model.fit(batches, steps_per_epoch=batches.steps_per_epoch, epochs=6, shuffle=False, verbose=0)
model.fit(batches, steps_per_epoch=4, initial_epoch=1, epochs=3, shuffle=False, verbose=0)
reference = Batches(images, 3, seed=1)
sum_of_step = [images[reference.image_indices(step)].sum() for step in range(30)]
sums = np.rint(ops.convert_to_numpy(model.sums))
np.testing.assert_array_equal(sums, sum_of_step[5:17] + sum_of_step[5:13] + [0] * 10)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_asks_for_every_step_once_and_in_order(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- the real archives ---


@real("img_align_celeba.zip")
@real("lfw64.zip")
def test_real_archive_with_the_default_crop_matches_faces_prepared_elsewhere(source, cache):
    with zipfile.ZipFile(REAL_DATA / "img_align_celeba.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:300]
        archive.extractall(source, names)
    array = prepared(source, cache, 64)
    with zipfile.ZipFile(REAL_DATA / "lfw64.zip") as archive:
        references = [archive.read(name.replace("img_align_celeba", "lfw64")) for name in names]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(reference))) for reference in references])
    # What is left is the loss of the reference's JPEG compression; a crop off by one pixel differs by more.
    difference = np.abs(array.astype(int) - expected).mean(axis=(1, 2, 3))
    assert difference.mean() < 3
    assert difference.max() < 5


@real("img_align_celeba.zip")
def test_real_archive_and_unpacked_folder_give_the_same_array(source, cache, tmp_path):
    part = tmp_path / "part.zip"
    with zipfile.ZipFile(REAL_DATA / "img_align_celeba.zip") as archive, zipfile.ZipFile(part, "w") as copy:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:50]
        archive.extractall(source, names)
        for name in names:
            copy.writestr(name, archive.read(name))
    np.testing.assert_array_equal(prepared(source, cache), prepared(part, cache))


@real("fashion_mnist.npz")
def test_real_fashion_mnist_has_60000_images():
    images = load_images(DataConfig("fashion_mnist", str(REAL_DATA)), FASHION)
    assert images.shape == (60_000, 32, 32, 1)
    assert 60 < images[:, 2:-2, 2:-2].mean() < 85
