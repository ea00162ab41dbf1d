"""The film behind a slider: its HTML, and how it moves in a browser."""

import base64
import io

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from ddpm_lib.config import InputError
from ddpm_lib.explorer import Film

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
FRAMES = [np.broadcast_to(colour, (8, 12, 3)) for colour in COLOURS]
CAPTIONS = ["red", "green < red", 'the "blue" one', "it's yellow"]
FILM = Film(FRAMES, CAPTIONS, label="colour", alt="Four frames, each of one colour.", start=1, scale=10)


def test_picture_holds_all_frames_in_order():
    image = BeautifulSoup(FILM._repr_html_(), "html.parser").img
    assert image["alt"] == "Four frames, each of one colour."
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition("base64,")[2]))))
    np.testing.assert_array_equal(pixels, np.concatenate(FRAMES))


def test_a_film_with_losses_is_smaller_and_looks_the_same():
    frames = [np.linspace(i, 200 + i, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8) for i in range(4)]
    noisy = [np.clip(f + np.random.default_rng(0).normal(0, 8, f.shape), 0, 255).astype(np.uint8) for f in frames]
    files = {}
    for quality in (None, 85):
        shown = Film(noisy, CAPTIONS, label="step", alt="Noise.", quality=quality)._repr_html_()
        address = BeautifulSoup(shown, "html.parser").img["src"]
        assert address.startswith("data:image/webp;base64,")
        files[quality] = base64.b64decode(address.partition("base64,")[2])
    assert len(files[85]) < len(files[None]) / 2
    pixels = np.asarray(Image.open(io.BytesIO(files[85])).convert("RGB"), float)
    assert np.abs(pixels - np.concatenate(noisy)).mean() < 8, "less than the noise itself"


def test_more_rows_than_a_webp_picture_has_are_refused():
    with pytest.raises(InputError, match="at most 16,383 rows of pixels in all its frames, got 16,400"):
        Film(np.zeros((82, 200, 1, 1), np.uint8), [""] * 82, label="step", alt="nothing")


@pytest.mark.parametrize("options", [{"start": 4}, {"start": -1}, {"captions": CAPTIONS[:3]}])
def test_what_does_not_fit_is_refused(options):
    captions = options.pop("captions", CAPTIONS)
    with pytest.raises(InputError, match=r"start must be in|one caption a frame"):
        Film(FRAMES, captions, label="colour", alt="Four frames.", **options)


@pytest.mark.parametrize("width", [320, 800])
def test_keys_move_the_film(chromium, tmp_path, width):
    """From the disk: arrow keys, Home and End show the right frame, its caption, and say it."""
    path = tmp_path / "film.html"
    path.write_text(f"<!doctype html><title>Film</title><body>{FILM._repr_html_()}", "utf8")
    page = chromium.new_page(viewport={"width": width, "height": 600})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    slider = page.get_by_role("slider", name="colour")
    for key, number in [(None, 1), ("ArrowRight", 2), ("End", 3), ("ArrowLeft", 2), ("Home", 0)]:
        if key:
            slider.press(key)
        assert page.locator("output").inner_text() == CAPTIONS[number]
        assert slider.get_attribute("aria-valuetext") == CAPTIONS[number]
        window = page.locator(".ddpm-film > div")
        shown = np.asarray(Image.open(io.BytesIO(window.screenshot())))[..., :3]
        inside = shown[4:-4, 4:-4].reshape(-1, 3)
        np.testing.assert_array_equal(np.unique(inside, axis=0), [COLOURS[number]])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not errors
    page.close()
