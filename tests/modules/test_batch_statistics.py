import copy

import pytest
import torch
from torch import nn

from raykd.modules.batch_statistics import (
    AnswersOnBatchStatistics,
    batch_norms,
    on_batch_statistics,
    recalibrated,
)


def network():
    torch.manual_seed(0)
    layers = []
    for a, b in ((3, 4), (4, 5), (5, 6), (6, 7)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Dropout(0.5), nn.Flatten(), nn.Linear(7 * 16, 3))
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.uniform_(-1, 1)
    return model.eval()


def noise(n=16, seed=0):
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def normalised(model, x):
    """What each batch norm puts out, before its weight and bias."""
    seen = []

    def look(module, _, output):
        shape = (1, -1, 1, 1)
        seen.append((output - module.bias.view(shape)) / module.weight.view(shape))

    hooks = [
        module.register_forward_hook(look)
        for module in model.modules()
        if "BatchNorm" in type(module).__name__ or "BatchStatistics" in type(module).__name__
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_each_layer_sees_mean_0_and_variance_1():
    model = network()
    for z in normalised(on_batch_statistics(model), noise()):
        assert z.mean((0, 2, 3)).abs().max() < 1e-5
        assert (z.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-3
    shifted = normalised(model, noise())
    assert max(z.mean((0, 2, 3)).abs().max() for z in shifted) > 0.1


def test_it_is_what_train_mode_gives_and_changes_nothing():
    model = network()
    before = copy.deepcopy(model.state_dict())
    twin = on_batch_statistics(model)
    answer = twin(noise())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    reference = copy.deepcopy(model)
    for module in reference:
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    assert torch.equal(answer, reference(noise()))
    assert not torch.allclose(answer, model(noise()))
    assert not twin.training  # dropout stays off


def test_tensors_are_shared():
    model = network()
    own = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in on_batch_statistics(model).parameters()} == own


@pytest.mark.parametrize(("fraction", "current"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_a_fraction_is_taken_from_the_input_on(fraction, current):
    model = network()
    assert batch_norms(model) == ["1", "4", "7", "10"]
    twin = on_batch_statistics(model, fraction)
    assert batch_norms(twin) == ["1", "4", "7", "10"][current:]
    assert torch.equal(twin(noise()), model(noise())) == (fraction == 0)


def test_one_value_a_channel_becomes_the_bias():
    norm = nn.BatchNorm1d(3)
    nn.init.uniform_(norm.bias)
    answer = on_batch_statistics(nn.Sequential(norm))(torch.tensor([[5.0, -2.0, 0.0]]))
    assert torch.allclose(answer[0], norm.bias, atol=1e-3)


def test_recalibration_takes_the_means_over_the_inputs():
    model = network()
    before = copy.deepcopy(model.state_dict())
    batches = [noise(seed=i) + 1 for i in range(3)]
    twin = recalibrated(model, batches)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    first = model[0](torch.cat(batches))
    assert torch.allclose(twin[1].running_mean, first.mean((0, 2, 3)), atol=1e-5)
    assert not any(module.training for module in twin.modules())
    assert all(
        torch.equal(p, q) for p, q in zip(twin.parameters(), model.parameters(), strict=True)
    )


def test_a_factory_of_networks_that_use_batch_statistics():
    model = AnswersOnBatchStatistics(lambda num_classes, in_channels: network())(
        num_classes=3, in_channels=3
    )
    assert batch_norms(model) == []
    assert torch.equal(model.eval()(noise()), on_batch_statistics(network())(noise()))
    assert any(p.requires_grad for p in model.parameters())


def test_what_it_refuses():
    with pytest.raises(ValueError, match="Linear has no batch norm"):
        on_batch_statistics(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="Linear has no batch norm"):
        recalibrated(nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match=r"fraction of batch norm layers is 1\.5"):
        on_batch_statistics(network(), 1.5)
