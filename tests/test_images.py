"""Pictures: value ranges, grids, strips and films."""

import numpy as np
import pytest
from PIL import Image

from ddpm_lib import images


def test_all_256_values_survive_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    floats = images.from_uint8(values)
    assert floats.dtype == np.float32 and floats.min() == -1.0 and floats.max() == 1.0
    assert np.array_equal(images.to_uint8(floats), values)


def test_values_outside_the_range_are_clipped_not_wrapped():
    assert images.to_uint8([-1.2, 1.3, 0.0, -np.inf, np.inf]).tolist() == [0, 255, 128, 0, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_keeps_shape_and_the_places_of_things(channels):
    """Four even quarters stay four quarters, each image for itself, away from the edges between them."""
    quarters = np.array([[[0, 80], [160, 240]], [[240, 0], [80, 160]]], np.uint8)
    small = np.repeat(np.kron(quarters, np.ones((1, 8, 8), np.uint8))[..., None], channels, axis=-1)
    large = images.resize(small, 32)
    assert large.shape == (2, 32, 32, channels) and large.dtype == np.uint8
    np.testing.assert_array_equal(large[:, 4::24, 4::24], np.repeat(quarters[..., None], channels, axis=-1))
    np.testing.assert_array_equal(images.resize(small, 16), small)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 10, 16, 17])
def test_every_image_lands_in_its_own_cell(count):
    tiles = np.stack([np.full((3, 4, 1), 10 * (i + 1), np.uint8) for i in range(count)])
    grid = images.make_grid(tiles, pad=2)
    columns = next(c for c in range(1, 9) if c * c >= count)
    rows = -(-count // columns)
    assert grid.shape == (rows * 5 - 2, columns * 6 - 2, 1)
    for i in range(rows * columns):
        top, left = i // columns * 5, i % columns * 6
        cell = grid[top : top + 3, left : left + 4]
        assert (cell == (10 * (i + 1) if i < count else 255)).all()


def test_columns_can_be_chosen():
    assert images.make_grid(np.zeros((6, 2, 2, 3), np.uint8), columns=6, pad=0).shape == (2, 12, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(tmp_path, channels):
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, channels), dtype=np.uint8)
    images.save_png(tmp_path / "x.png", picture, scale=3)
    back = np.asarray(Image.open(tmp_path / "x.png")).reshape(15, 12, channels)
    assert np.array_equal(back[1::3, 1::3], picture)


def test_strip_has_a_frame_and_a_label_for_each(tmp_path):
    frames = [np.full((8, 8, 1), value, np.uint8) for value in (0, 100, 200)]
    images.save_strip(tmp_path / "s.png", frames, ["a", "b", "c"], scale=4)
    strip = np.asarray(Image.open(tmp_path / "s.png"))
    assert strip.shape == (32 + 18, 3 * 36 - 4, 3)
    assert [int(strip[10, 36 * i + 10, 0]) for i in range(3)] == [0, 100, 200]
    for i in range(3):
        assert (strip[32:, 36 * i : 36 * i + 32] < 128).any(), "no label under the frame"
    with pytest.raises(ValueError):
        images.save_strip(tmp_path / "s.png", frames, ["a"])


def test_film_keeps_all_frames_and_rests_on_the_last(tmp_path):
    frames = [np.full((8, 8, 3), value, np.uint8) for value in (0, 100, 200)]
    images.save_gif(tmp_path / "f.gif", frames, milliseconds=50)
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 3 and film.info["loop"] == 0
        shown, durations = [], []
        for i in range(3):
            film.seek(i)
            durations.append(film.info["duration"])
            shown.append(int(np.asarray(film.convert("RGB"))[4, 4, 0]))
    assert durations == [50, 50, 2000]
    assert np.abs(np.array(shown) - [0, 100, 200]).max() <= 4
