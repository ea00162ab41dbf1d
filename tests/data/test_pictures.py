"""Reading strangers' files: what becomes of a picture, of a bad one, and of a bad source."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm_lib.config import InputError
from ddpm_lib.data import open_prepared, prepare
from tests.data.sources import REAL_DATA, noise_pictures, prepared, real, save

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


def forged_directory(folder, changes):
    path = folder / "img.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ab.jpg", b"x")
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    for offset, values in changes.items():
        content[directory + offset : directory + offset + 2] = values
    path.write_bytes(content)
    return path


def name_that_is_not_utf8(folder):
    return forged_directory(folder, {8: b"\x00\x08", 46: b"\xff\xff"})  # the flag that says it is, and the name


def version_of_the_future(folder):
    return forged_directory(folder, {6: b"\x63\x00"})


def link_to_itself(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


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
        (lambda folder: folder / "missing.zip", "there is no file or folder .*: name the images with --data_dir"),
        (lambda folder: folder / ("x" * 300), "cannot read .*File name too long"),
        (lambda folder: folder, r"holds no images \(0 other files\)"),
        (folder_of_text, r"holds no images \(1 other files: 1 \.txt\)"),
        (empty_archive, r"holds no images \(0 other files\)"),
        (archive_without_images, r"holds no images \(1 other files: 1 \.txt\)"),
        (empty_file, r"\(0 bytes\) is not a complete zip archive: download it again"),
        (web_page, r"\(27 bytes\) is not a complete zip archive: download it again"),
        (name_that_is_not_utf8, r"\(111 bytes\) is not a complete zip archive: download it again"),
        (version_of_the_future, r"\(111 bytes\) is not a complete zip archive: download it again"),
        (link_to_itself, "there is no file or folder .*loop: name the images with --data_dir"),
        (truncated_archive, r"\(5,000 bytes\) is not a complete zip archive: download it again"),
    ],
)
def test_bad_source_is_one_clear_line(source, cache, make, message):
    with pytest.raises(InputError, match=message) as caught:
        prepare(make(source), 32, cache_dir=cache, progress=False)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


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
