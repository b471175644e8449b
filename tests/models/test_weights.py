import hashlib
import io

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer
from safetensors.torch import save, save_file

from raykd.models.imagenet import resnet18
from raykd.models.resnet import resnet8, resnet8w6, resnet8x4
from raykd.models.weights import load_weights


def _same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def _bytes(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_of_the_crd_benchmark(tmp_path, zipped):
    taught, fresh = resnet8(10), resnet8(10)
    optimizer = torch.optim.SGD(taught.parameters(), lr=0.05, momentum=0.9)
    content = {
        "epoch": 240,
        "model": taught.state_dict(),
        "accuracy": torch.tensor([79.42]),
        "optimizer": optimizer.state_dict(),
    }
    path = tmp_path / "ckpt_epoch_240.pth"
    path.write_bytes(_bytes(content, _use_new_zipfile_serialization=zipped))
    load_weights(fresh, path, sha256=hashlib.sha256(path.read_bytes()).hexdigest().upper())
    assert _same(taught, fresh)


def test_bare_state_dict_of_torchvision():
    from torchvision import models

    theirs, ours = models.resnet18(num_classes=10), resnet18(num_classes=10)
    load_weights(ours, _bytes(theirs.state_dict()))
    assert _same(ours, theirs)


def test_safetensors_from_a_path_and_from_a_uri(tmp_path):
    taught = resnet8w6(10)
    path = tmp_path / "student.safetensors"
    save_file(taught.state_dict(), path)
    for source in (path, str(path), path.as_uri(), path.read_bytes()):
        fresh = resnet8w6(10)
        load_weights(fresh, source)
        assert _same(taught, fresh)


def test_from_s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        client, taught, fresh = boto3.client("s3"), resnet8w6(10), resnet8w6(10)
        client.create_bucket(Bucket="weights")
        client.put_object(Bucket="weights", Key="a/t.safetensors", Body=save(taught.state_dict()))
        load_weights(fresh, "s3://weights/a/t.safetensors")
        assert _same(taught, fresh)
        with pytest.raises(ValueError, match="s3://weights/b can't be read"):
            load_weights(fresh, "s3://weights/b")
    finally:
        server.stop()


def test_credentials_in_the_address_are_not_repeated():
    with pytest.raises(ValueError, match="the weights holds credentials") as caught:
        load_weights(resnet8w6(10), "s3://somebody:a/secret@bucket/t.safetensors")
    assert "a/secret" not in str(caught.value)


def test_wrong_sha256_loads_nothing():
    fresh = resnet8w6(10)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises(ValueError, match=r"has SHA-256 [0-9a-f]{64}, expected abc"):
        load_weights(fresh, save(resnet8w6(10).state_dict()), sha256="abc")
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


def test_another_number_of_classes_is_named():
    message = r"don't fit CifarResNet \(2 of another shape: fc.weight is \(100, 64\) and should be"
    with pytest.raises(ValueError, match=message):
        load_weights(resnet8(10), save(resnet8(100).state_dict()))


def test_another_architecture_is_named():
    state = resnet8(10).state_dict()
    state["extra"] = state.pop("fc.bias")
    with pytest.raises(ValueError, match=r"1 missing: fc.bias; 1 unexpected: extra\)"):
        load_weights(resnet8(10), save(state))
    with pytest.raises(ValueError, match=r"missing: .*, …; .*of another shape: .*, …\)"):
        load_weights(resnet8x4(10), save(resnet18(num_classes=10).state_dict()))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint at all", save(resnet8w6(10).state_dict())[:500]]
)
def test_damaged_files(content):
    with pytest.raises(ValueError, match="neither safetensors nor a checkpoint"):
        load_weights(resnet8w6(10), content)


def test_code_in_a_file_is_not_run(capsys):
    with pytest.raises(ValueError, match="tensors alone"):
        load_weights(resnet8w6(10), _bytes({"model": Evil()}))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_no_state_dict(content):
    with pytest.raises(ValueError, match="holds no state dict"):
        load_weights(resnet8w6(10), _bytes(content))


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.pth can't be read"):
        load_weights(resnet8w6(10), tmp_path / "nowhere.pth")
