"""What the tests of the data path share: a folder of pictures and a cache folder, both empty."""

import pytest


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
