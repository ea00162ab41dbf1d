"""The datasets by their names, and what does not fit."""

import keras
import numpy as np
import pytest

from ddpm_lib.config import DataConfig, InputError, UNetConfig
from ddpm_lib.data import load_images
from tests.data.sources import REAL_DATA, noise_pictures, real

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


def test_a_lost_fashion_mnist_is_to_be_named_with_a_flag(tmp_path):
    for path in (tmp_path, tmp_path / "fashion_mnist.npz"):
        with pytest.raises(InputError, match=rf"no file {tmp_path}/fashion_mnist.npz: name .* with --data_dir$"):
            load_images(DataConfig("fashion_mnist", str(path)), FASHION)


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


@real("fashion_mnist.npz")
def test_real_fashion_mnist_has_60000_images():
    images = load_images(DataConfig("fashion_mnist", str(REAL_DATA)), FASHION)
    assert images.shape == (60_000, 32, 32, 1)
    assert 60 < images[:, 2:-2, 2:-2].mean() < 85
