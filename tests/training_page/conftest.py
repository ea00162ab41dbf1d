"""Pages with the explorer of training."""

import functools

import pytest

from ddpm_lib.explorer import TrainingExplorer
from tests import pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with the explorer, and the script, as the book has them."""
    return pages.write_pages(tmp_path_factory.mktemp("pages"), {"training": TrainingExplorer().to_html()})


@pytest.fixture
def visit(chromium, folder):
    """Open the page, with a query; see `pages.visits`."""
    with pages.visits(chromium, folder) as open_page:
        yield functools.partial(open_page, "training")
