import shutil

import pytest

from raykd.data.synthetic import make, write_images


@pytest.fixture(scope="session")
def made_photos(tmp_path_factory):
    """Written once; tests that change files take `photos`."""
    root = tmp_path_factory.mktemp("photos")
    write_images(root, make(3, (3, 40, 48), 60, 15))
    return root


@pytest.fixture
def photos(made_photos, tmp_path):
    return shutil.copytree(made_photos, tmp_path / "photos")
