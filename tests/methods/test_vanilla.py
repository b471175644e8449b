from math import exp, log

import pytest

from raykd.methods.vanilla import Vanilla


def test_slow_formula(output, batch_of):
    s, batch = output(), batch_of()
    rows = zip(s.logits.tolist(), batch.target.tolist(), strict=True)
    expected = [log(sum(exp(y) for y in row)) - row[target] for row, target in rows]
    losses = Vanilla(s, output(seed=1))(s, output(seed=1), batch)
    assert losses.keys() == {"ce"}
    assert losses["ce"].item() == pytest.approx(sum(expected) / 4, abs=1e-12)


def test_golden_trace(trace):
    assert trace(Vanilla) == {
        "ce": pytest.approx([1.58149696, 1.69303665, 1.5866749], rel=1e-5),
    }
