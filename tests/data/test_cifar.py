import hashlib
import pickle

import pytest
import torch
from torchvision import datasets

from raykd.data.cifar import CIFAR10, CIFAR100, write_cifar
from raykd.data.resident import Contents

CLASSES = {CIFAR10: 10, CIFAR100: 100}


@pytest.fixture(params=[CIFAR10, CIFAR100])
def kind(request):
    return request.param


@pytest.fixture
def contents(kind):
    generator = torch.Generator().manual_seed(0)
    train, test = (
        torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
        for n in (205, 20)
    )
    classes = CLASSES[kind]
    return Contents(train, torch.arange(205) % classes, test, torch.arange(20) % classes)


@pytest.fixture
def root(kind, contents, tmp_path):
    write_cifar(tmp_path, contents, kind.__name__)
    return tmp_path


def test_reads_what_was_published(kind, contents, root):
    d = kind(root, verify=False)
    assert (len(d), d.classes, d.shape, d.views) == (185, CLASSES[kind], (3, 32, 32), 162)
    assert d.describe()["sha256"] == contents.sha256()
    [batch] = d.test()
    assert batch.target.equal(contents.test_target)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (d.mean, d.std))
    expected = (contents.test / 255 - mean) / std
    torch.testing.assert_close(batch.input, expected, rtol=0, atol=1e-6)


def test_torchvision_reads_the_small_files_too(kind, contents, root, monkeypatch):
    archive = kind.archive
    folder = root / archive.base_folder

    def summed(name):
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    for names in ("train_list", "test_list"):
        files = [summed(name) for name, _ in getattr(archive, names)]
        monkeypatch.setattr(archive, names, files)
    meta = archive.meta | {"md5": summed(archive.meta["filename"])[1]}
    monkeypatch.setattr(archive, "meta", meta)
    theirs = archive(str(root), train=True)
    assert (theirs.data == contents.train.permute(0, 2, 3, 1).numpy()).all()
    assert theirs.targets == contents.train_target.tolist()
    assert len(kind(root)) == 185  # the sums fit now


def test_files_that_are_not_the_published_ones(kind, root):
    with pytest.raises(ValueError, match="which is damaged"):
        kind(root)


def test_missing_folder(kind, tmp_path):
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs the files of cifar.*missing"):
        kind(tmp_path / "nowhere")


def test_damaged_file(kind, root):
    archive = datasets.CIFAR100 if kind is CIFAR100 else datasets.CIFAR10
    file = root / archive.base_folder / archive.train_list[0][0]
    for content in (file.read_bytes()[:5000], b"", b"not a pickle", pickle.dumps({"data": []})):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="which is damaged"):
            kind(root, verify=False)


def test_labels_of_another_archive(contents, tmp_path):
    write_cifar(tmp_path, contents._replace(train_target=torch.arange(205)), "CIFAR100")
    with pytest.raises(ValueError, match="labels go up to 204"):
        CIFAR100(tmp_path, verify=False)


def test_batch_larger_than_the_data(kind, root):
    with pytest.raises(ValueError, match="batch size is 186"):
        kind(root, verify=False, batch_size=186)


def test_normalisation():
    assert CIFAR100.mean == (0.5071, 0.4867, 0.4408)
    assert CIFAR100.std == (0.2675, 0.2565, 0.2761)


@pytest.mark.parametrize("kind", [CIFAR10], indirect=True)
def test_cifar10_normalised_as_imagenet(root):
    assert CIFAR10(root, verify=False, normalise="imagenet").mean == (0.485, 0.456, 0.406)
    with pytest.raises(ValueError, match="known: cifar10, imagenet"):
        CIFAR10(root, verify=False, normalise="cifar100")
