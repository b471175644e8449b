import pytest
import torch

from raykd.models import Output


def _output(batch: int = 2) -> Output:
    stages = (torch.ones(batch, 3, 4, 4), torch.ones(batch, 6, 2, 2))
    return Output(torch.ones(batch, 5), stages, torch.ones(batch, 6), stages[:1])


def test_map_reaches_every_tensor():
    halved = _output().map(torch.Tensor.half)
    tensors = [halved.logits, *halved.stages, halved.pooled, *halved.preacts]
    assert all(t.dtype == torch.float16 for t in tensors)
    assert len(tensors) == 5


def test_once_computes_once_for_each_output():
    output, calls = _output(), []
    for _ in range(3):
        assert output.once("gram 2", lambda: calls.append(1) or 7) == 7
    assert calls == [1]
    assert output.map(lambda t: t).once("gram 2", lambda: 8) == 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensors_of_16_bits_become_float32_and_no_others(dtype):
    low = Output(torch.ones(2, 3), (torch.ones(2, 4).to(dtype),), torch.ones(2, 4))
    cast = low.at_least_float32()
    assert cast.stages[0].dtype == torch.float32
    assert cast.logits is low.logits
    assert cast.at_least_float32() is cast
    exact = low.map(torch.Tensor.double)
    assert exact.at_least_float32() is exact
