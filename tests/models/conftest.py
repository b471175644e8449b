from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture
def on_paper() -> Callable[..., None]:
    """Compares a factory with its row in the table of models, without computing anything."""

    def check(factory, params, mmacs, pooled, stages, num_classes=100):
        # Made on the CPU: the first random number on the meta device costs seconds of imports.
        model = factory(num_classes=num_classes).to("meta")
        with FlopCounterMode(display=False) as flops:
            output = model(torch.empty(1, 3, 32, 32, device="meta"))
        assert _count(model) == params
        assert flops.get_total_flops() / 2e6 == pytest.approx(mmacs, rel=3e-3, abs=0.05)
        assert output.pooled.shape == (1, pooled)
        assert output.logits.shape == (1, num_classes)
        assert [tuple(s.shape[1:3]) for s in output.stages] == stages
        assert all(s.shape[2] == s.shape[3] for s in output.stages)
        assert len(output.preacts) in (0, len(stages))

    return check


@pytest.fixture
def at_work() -> Callable[..., None]:
    """Runs a factory's model on two small images, forward and backward, in both modes."""

    def check(factory, active=F.relu, size=16):
        torch.manual_seed(0)
        for channels in (1, 3):
            model = factory(num_classes=7, in_channels=channels)
            x = torch.randn(2, channels, size, size)
            output = model.train()(x)
            torch.testing.assert_close(model.head(output.pooled), output.logits)
            pairs = zip(output.stages, output.preacts, strict=True) if active else ()
            for stage, preact in pairs:
                assert torch.equal(active(preact), stage)
        F.cross_entropy(output.logits, torch.tensor([1, 2])).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.ndim == 1 or parameter.grad.abs().max() > 0, name
        model.eval()
        with torch.no_grad():
            first, again, alone = model(x), model(x), model(x[:1])
        assert torch.equal(first.logits, again.logits)
        torch.testing.assert_close(first.logits[:1], alone.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.head(first.pooled), first.logits)

    return check
