"""Pictures that nobody planned for: none is left out without a word, and none is turned into something else."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from ddpm_lib import cli
from ddpm_lib.config import InputError
from ddpm_lib.data import pictures, prepare
from tests.data.sources import noise_pictures, prepared, save

# --- nothing is left out without a word ---


def test_linked_folders_are_followed_once_and_not_in_circles(source, cache, tmp_path):
    pixels = noise_pictures(tmp_path / "elsewhere", 3)
    noise_pictures(source / "own", 2)
    os.symlink(tmp_path / "elsewhere", source / "a_link")
    os.symlink(tmp_path / "elsewhere", source / "b_the_same_again")
    os.symlink("own", source / "another_name")
    os.symlink(source, source / "own" / "in_a_circle")
    os.symlink("nowhere", source / "dangling")
    array = prepared(source, cache)
    np.testing.assert_array_equal(array, np.concatenate([pixels, pixels[:2]]))


def test_what_pillow_opens_is_opened(source, cache):
    solid = Image.new("RGB", (32, 32), (10, 200, 30))
    endings = ["ppm", "tga", "jp2", "pcx", "dib", "sgi", "BMP", "avif", "qoi"]
    supported = {"jp2": features.check("jpg_2000"), "avif": features.check("avif"), "qoi": "QOI" in Image.SAVE}
    endings = [ending for ending in endings if supported.get(ending.lower(), True)]
    for ending in endings:
        solid.save(source / f"x.{ending}")
    array = prepared(source, cache)
    assert len(array) == len(endings) >= 6
    assert np.abs(array.astype(int) - (10, 200, 30)).max() <= 3  # AVIF is lossy


def test_what_is_ignored_is_counted_by_its_ending(source, cache, capsys):
    noise_pictures(source, 2)
    for name in ("1.HEIC", "2.heic", "sub/3.heic", "notes.txt", ".hidden.png", "README"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"x")
    for _ in ("prepared", "prepared before"):
        assert len(prepared(source, cache)) == 2
    first, second = capsys.readouterr().err.split("Prepared 2 images")
    assert first == "Ignored 6 other files: 3 .heic, 1 .txt, 1 hidden, 1 without an ending\n"
    assert "(0 skipped, ignored 6 other files: 3 .heic, 1 .txt, 1 hidden, 1 without an ending)" in second


def test_a_name_that_an_archive_holds_twice_is_counted(source, cache, tmp_path, capsys):
    pixels = noise_pictures(source, 2)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for name in ("000000.png", "000001.png"):
            archive.write(source / name, "a.png")
    np.testing.assert_array_equal(prepared(tmp_path / "x.zip", cache), pixels[1:])
    assert "Ignored 1 other files: 1 of a name that comes again" in capsys.readouterr().err


# --- what a value means ---


def prepared_values(folder, cache):
    array = prepared(folder, cache)
    assert (array == array[:, :1, :1, :1]).all()
    return array[:, 0, 0, 0].tolist()


def test_sixteen_bits_are_rounded(source, cache):
    values = [0, 4096, 10_000, 32_767, 32_896, 65_535]
    for index, value in enumerate(values):
        save(source, f"{index}.png", np.full((32, 32), value, np.uint16))
    assert prepared_values(source, cache) == [round(value / 65_535 * 255) for value in values]


def test_floats_are_read_by_their_range(source, cache):
    for index, value in enumerate([0.0, 0.25, 1.0, 100.4, 255.0]):
        save(source, f"{index}.tiff", np.full((32, 32), value, np.float32))
    assert prepared_values(source, cache) == [0, 64, 255, 100, 255]


@pytest.mark.parametrize(
    "pixels, words",
    [
        (np.full((32, 32), 4000, np.uint16), "from 4000 to 4000"),  # 12 bits in the place of 16: nearly black
        (np.full((32, 32), 200, np.uint16), "from 200 to 200"),
        (np.full((32, 32), 10**6, np.int32), "from 1e[+]06"),
        (np.full((32, 32), -5, np.int32), "from -5"),
        (np.full((32, 32), -0.5, np.float32), "from -0.5"),
        (np.full((32, 32), 1e6, np.float32), "from 1e[+]06"),
        (np.full((32, 32), np.nan, np.float32), "from nan"),
    ],
)
def test_values_of_no_known_range_are_named_and_not_guessed(source, cache, pixels, words):
    save(source, "x.tiff", pixels)
    with pytest.raises(InputError, match=f"none of the 1 images could be used.*'x.tiff'.*{words}.*rescale"):
        prepared(source, cache)


def matrix_profile(tmp_path):
    """Make the profile of a space whose green is sRGB's red and so on: as wrong as a profile can be ignored."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = [content.index(tag, 128) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
    offsets = [bytes(content[place + 4 : place + 8]) for place in places]
    for place, offset in zip(places, offsets[1:] + offsets[:1], strict=True):
        content[place + 4 : place + 8] = offset
    return bytes(content)


def test_embedded_colour_profiles_are_honoured(source, cache, tmp_path):
    profile = matrix_profile(tmp_path)
    red = Image.new("RGB", (32, 32), (255, 0, 0))
    save(source, "1_swapped.png", red, icc_profile=profile)
    save(source, "2_half_transparent.png", Image.new("RGBA", (32, 32), (255, 0, 0, 51)), icc_profile=profile)
    save(source, "3_srgb.png", red, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    save(source, "4_damaged.png", red, icc_profile=b"no profile at all")
    save(source, "5_grey_with_one_of_colours.png", Image.new("L", (32, 32), 90), icc_profile=profile)
    array = prepared(source, cache)
    assert (array == array[:, :1, :1]).all()
    expected = [(0, 255, 0), (204, 255, 204), (255, 0, 0), (255, 0, 0), (90, 90, 90)]
    assert np.abs(array[:, 0, 0].astype(int) - expected).max() <= 1


# --- nothing is read without end ---


def test_a_huge_member_of_a_small_archive_is_skipped_unread(source, cache, tmp_path, monkeypatch):
    pixels = noise_pictures(source, 1)
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source / "000000.png", "a.png")
        archive.writestr("bomb.png", bytes(10_001))
    monkeypatch.setattr(zipfile.ZipFile, "read", checked(zipfile.ZipFile.read))
    np.testing.assert_array_equal(prepared(tmp_path / "x.zip", cache, max_bad_fraction=0.5), pixels)
    (source / "bomb.png").write_bytes(bytes(10_001))
    np.testing.assert_array_equal(prepared(source, cache, max_bad_fraction=0.5), pixels)


def checked(read):
    def read_small(archive, member):
        assert member.file_size <= 10_000, "it was read"
        return read(archive, member)

    return read_small


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_never_ends_is_refused(kind, tmp_path, capsys):
    path = "/dev/zero"
    if kind == "pipe":
        path = tmp_path / "pipe.zip"
        os.mkfifo(path)
    with pytest.raises(InputError, match=f"{path} is neither a folder nor an ordinary file"):
        prepare(path)
    for command in (
        ["prepare", "--data_dir", path],
        ["train", "--dataset", "fashion_mnist", "--data_dir", path],
        ["generate", "--model", path],
    ):
        assert cli.main([str(part) for part in command]) == 2
        assert str(path) in capsys.readouterr().err.splitlines()[-1]


def test_a_size_that_no_network_has_is_refused(source, capsys):
    with pytest.raises(SystemExit):
        cli.main(["prepare", "--data_dir", str(source), "--image_size", "100000"])
    assert "at most 1024" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"image_size must be in 1\.\.1024 pixels, got 100000"):
        prepare(source, 100_000)


# --- the wrong thing named ---


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("x.7z", b"7z\xbc\xaf", "is not a zip archive: unpack it, and name the folder of images"),
        ("x.tar.gz", b"\x1f\x8b", "is not a zip archive: unpack it, and name the folder of images"),
        ("x.jpg", b"\xff\xd8\xff", "is one picture: name the folder that it lies in"),
        ("x.zip", b"<html>", "is not a complete zip archive: download it again"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(source, name, content, words):
    (source / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        prepare(source / name)


def test_an_archive_in_a_folder_without_images_is_pointed_to(source):
    zipfile.ZipFile(source / "photos.zip", "w").close()
    with pytest.raises(InputError, match=r"holds no images, but an archive: name it with --data_dir .*/photos\.zip$"):
        prepare(source)
