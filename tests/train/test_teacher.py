"""The teacher is frozen, in eval mode, and any change of its state is preempted."""

import pytest
import torch
from networks import Dropping, network, synthetic
from torch import nn

from raykd.data import Batch
from raykd.train.teacher import Teacher, digest


@pytest.fixture
def batch() -> Batch:
    return next(synthetic().train(0))


def test_is_frozen_and_in_eval_mode(batch: Batch) -> None:
    model = network(4).train()
    teacher = Teacher(model)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    output = teacher(batch)
    assert not output.logits.requires_grad
    assert output.logits.dtype == torch.float32
    teacher.verify()


def test_says_the_same_whatever_the_randomness(batch: Batch) -> None:
    teacher = Teacher(Dropping())
    assert torch.equal(teacher(batch).logits, teacher(batch).logits)


def test_autocast_returns_float32(batch: Batch) -> None:
    model = network(4)
    exact, rounded = Teacher(model)(batch), Teacher(model, autocast=True)(batch)
    assert rounded.logits.dtype == rounded.stages[0].dtype == torch.float32
    assert not torch.equal(exact.logits, rounded.logits)
    torch.testing.assert_close(exact.logits, rounded.logits, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", ["conv1.weight", "bn1.running_var", "bn1.num_batches_tracked"])
def test_verify_notices_one_bit(name: str) -> None:
    model = network(4)
    teacher = Teacher(model)
    tensor = model.state_dict()[name]
    bits = tensor.flatten()[-1:].view(torch.uint8)
    bits[0] ^= 1
    with pytest.raises(RuntimeError, match="the teacher's state changed during training"):
        teacher.verify()
    bits[0] ^= 1
    teacher.verify()


def test_digest_tells_names_types_and_shapes() -> None:
    def holding(**tensors: torch.Tensor) -> nn.Module:
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return module

    zeros = torch.zeros(4)
    digests = {
        digest(holding(a=zeros)),
        digest(holding(b=zeros)),
        digest(holding(a=zeros.view(2, 2))),
        digest(holding(a=zeros.int())),
        digest(holding(a=zeros[:2], b=zeros[2:])),
        digest(holding(a=zeros.bool())),
        digest(holding(a=torch.tensor(0.0))),
        digest(holding(a=zeros.bfloat16())),
        digest(holding(a=torch.empty(0))),
    }
    assert len(digests) == 9
    assert digest(holding(a=zeros, b=zeros)) == digest(holding(b=zeros, a=zeros.clone()))
    strided = torch.arange(6.0).view(2, 3).T
    assert digest(holding(a=strided)) == digest(holding(a=strided.contiguous()))
