import pytest
from torch.autograd import gradcheck

from raykd.methods.cc import CC, correlation_congruence_loss


def test_slow_formula(draw):
    e_s, e_t = draw(4, 3), draw(4, 3, seed=1)
    delta = (e_s - e_t).abs().tolist()
    dots = [sum(delta[i][k] * delta[i + 1][k] for k in range(3)) for i in range(3)]
    assert correlation_congruence_loss(e_s, e_t).item() == pytest.approx(sum(dots) / 3, abs=1e-14)


def test_it_is_zero_where_the_embeddings_agree_and_for_one_sample(draw):
    e = draw(4, 3)
    assert correlation_congruence_loss(e, e) == 0
    assert correlation_congruence_loss(e[:1], 2 * e[:1]) == 0
    assert correlation_congruence_loss(e, 2 * e) > 0


def test_gradient(draw):
    e_s, e_t = draw(4, 3).requires_grad_(), draw(4, 3, seed=1)
    assert gradcheck(lambda e: correlation_congruence_loss(e, e_t), e_s)


@pytest.mark.parametrize(
    ("d_s", "d_t", "parameters"),
    [
        (128, 128, 33_024),
        (64, 128, 24_832),
        (64, 64, 16_640),
        (256, 256, 65_792),
        (512, 512, 131_328),
        (1280, 512, 229_632),
        (1280, 2048, 426_240),
        (512, 2048, 327_936),
        (960, 256, 155_904),
        (1024, 256, 164_096),
        (960, 128, 139_520),
    ],
)
def test_parameters_of_the_benchmarks_pairs(output, d_s, d_t, parameters):
    s, t = (output(batch=1, widths=(d,), sizes=(1,)) for d in (d_s, d_t))
    assert sum(p.numel() for p in CC(s, t).parameters()) == parameters


def test_golden_trace(trace):
    assert trace(CC) == {
        "ce": pytest.approx([1.58149696, 1.6935362, 1.5874976], rel=1e-5),
        "correlation": pytest.approx([0.305086446, 0.31964066, 0.291072565], rel=1e-5),
    }
