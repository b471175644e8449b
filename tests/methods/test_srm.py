from math import e, log

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from raykd.methods.kd import kd_loss
from raykd.methods.srm import (
    RATES,
    SRM,
    Dictionary,
    image_loss,
    pixel_loss,
    train_dictionaries,
)

TEACHER = {"widths": (5, 7, 9, 12), "sizes": (10, 8, 6, 4)}


def dictionary(features=4, atoms=10, seed=0):
    return Dictionary(features, atoms, seed).double().requires_grad_(False)


def test_the_code_keeps_the_largest_similarities(draw):
    block, x = dictionary(), draw(2, 4, 3, 3)
    code = block.code(x, 3)
    assert code.shape == (2, 10, 3, 3)
    assert (code.count_nonzero(1) == 3).all()
    for b, h, w in torch.cartesian_prod(*map(torch.arange, (2, 3, 3))).tolist():
        kappa = [
            1 / (1 + e ** -(float(block.atoms[:, m] @ x[b, :, h, w]) + float(block.intercept)))
            for m in range(10)
        ]
        least = sorted(kappa)[-3]
        expected = [k if k >= least else 0.0 for k in kappa]
        assert code[b, :, h, w].tolist() == pytest.approx(expected)
        assert code[b, :, h, w].argmax() == max(range(10), key=kappa.__getitem__)


def test_all_atoms_kept_are_the_dense_similarity(draw):
    block, x = dictionary(), draw(2, 4, 3, 3)
    assert torch.equal(block.code(x, 10), block.score(x).sigmoid())


def test_ties_are_all_kept():
    block = dictionary()
    assert (block.code(torch.zeros(1, 4, 1, 1, dtype=torch.float64), 2) > 0).all()


def test_positions_carry_their_codes_with_them(draw):
    block, x = dictionary(), draw(2, 4, 3, 3)
    order = torch.tensor([5, 2, 8, 0, 1, 7, 3, 6, 4])
    moved = x.flatten(2)[:, :, order].view_as(x)
    code, moved_code = block.code(x, 3), block.code(moved, 3)
    assert torch.allclose(moved_code.flatten(2), code.flatten(2)[:, :, order])
    assert torch.allclose(moved_code.mean((2, 3)), code.mean((2, 3)))


def test_reconstruction_and_its_gradient_through_both_uses_of_the_atoms(draw):
    block, x = dictionary(3, 5), draw(1, 3, 2, 2)
    assert block.reconstruct(x, 2).shape == x.shape
    manual = torch.einsum("dm,bmhw->bdhw", block.atoms, block.code(x, 2))
    assert torch.allclose(block.reconstruct(x, 2), manual)

    def loss(atoms):
        block.atoms.data = atoms.detach()
        similarity = (torch.einsum("bdhw,dm->bmhw", x, atoms) + block.intercept).sigmoid()
        code = similarity * (block.code(x, 2) > 0)
        return F.mse_loss(torch.einsum("dm,bmhw->bdhw", atoms, code), x)

    atoms = block.atoms.detach().clone().requires_grad_()
    assert gradcheck(loss, atoms)
    expected = torch.autograd.grad(loss(atoms), atoms)[0]
    block.requires_grad_(True)
    F.mse_loss(block.reconstruct(x, 2), x).backward()
    assert torch.allclose(block.atoms.grad, expected)


@pytest.mark.parametrize("atoms", [256, 512, 2048])
def test_the_floor_of_the_published_pixel_loss(atoms):
    """Sigmoids as logits can't go below ln(1 + (M − 1)/e): 4.552 for 256 atoms."""
    score = torch.full((1, atoms, 1, 1), -1e3, dtype=torch.float64)
    score[0, 3] = 1e3
    label = torch.full((1, 1, 1), 3)
    floor = log(1 + (atoms - 1) / e)
    assert pixel_loss(score, label, "sigmoid").item() == pytest.approx(floor)
    assert pixel_loss(score, label, "linear").item() == pytest.approx(0)


def test_the_image_loss_is_least_at_the_target(draw):
    target = draw(2, 6).abs()
    entropy = -(target * target.log() + (1 - target) * (1 - target).log()).mean()
    exact = target.logit()[:, :, None, None].expand(-1, -1, 2, 2)
    assert image_loss(exact, target).item() == pytest.approx(entropy.item(), rel=1e-6)
    assert image_loss(exact + 0.3, target) > entropy
    expected = F.binary_cross_entropy((exact + 0.3).sigmoid().mean((2, 3)), target)
    assert image_loss(exact + 0.3, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
def test_the_image_loss_is_torchs_binary_cross_entropy(draw, dtype, scale):
    """In value and gradient, also where all similarities of an atom are 0 or 1."""
    score, label = (scale * draw(3, 7, 2, 2)).to(dtype), draw(3, 7, seed=1).abs().to(dtype)
    score[:, 0], score[:, 1], label[0, :2], label[1, :2] = -scale, scale, 0, 1
    ours, theirs = score.clone().requires_grad_(), score.clone().requires_grad_()
    loss = image_loss(ours, label)
    expected = F.binary_cross_entropy(theirs.sigmoid().mean((2, 3)), label)
    loss.backward()
    expected.backward()
    assert torch.equal(loss, expected)
    assert torch.equal(ours.grad, theirs.grad)


def test_a_network_that_diverged_makes_the_image_loss_not_a_number(draw):
    score, label = draw(2, 3, 2, 2), draw(2, 3, seed=1).abs()
    assert image_loss(score * torch.nan, label).isnan()
    assert image_loss(score, label * torch.nan).isnan()


def test_gradients(draw):
    score = draw(2, 5, 2, 2).requires_grad_()
    label = torch.arange(8).view(2, 2, 2) % 5
    for logits in ("sigmoid", "linear"):
        assert gradcheck(lambda s, logits=logits: pixel_loss(s, label, logits), score)
    assert gradcheck(lambda s: image_loss(s, draw(2, 5, seed=1).abs()), score)


@torch.no_grad()
def error(teacher, data, state, kept):
    total = 0.0
    for batch in data.train(0):
        for layer, (f, k) in enumerate(zip(teacher(batch.input).stages[-2:], kept, strict=True)):
            block = Dictionary(*state[f"{layer}.atoms"].shape)
            block.load_state_dict({n: state[f"{layer}.{n}"] for n in ("atoms", "intercept")})
            total += F.mse_loss(block.reconstruct(f, k), f).item()
    return total


def test_training_a_dictionary_lowers_the_error(tiny_net, data):
    teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
    atoms, kept = [18, 24], [4, 4]
    epochs = {}
    for count in (1, 10):
        torch.manual_seed(count)  # the same dictionaries whatever was drawn before
        epochs[count] = train_dictionaries(teacher, data, atoms, kept, count)
    torch.manual_seed(3)
    again = train_dictionaries(teacher, data, atoms, kept, 10)
    assert all(torch.equal(epochs[10][name], again[name]) for name in again)
    assert error(teacher, data, epochs[10], kept) < error(teacher, data, epochs[1], kept)


def test_more_atoms_kept_reconstruct_better(draw):
    x = draw(20, 6, 3, 3).relu()

    def trained(kept):
        block = Dictionary(6, 12, seed=0).double()
        optimizer = torch.optim.Adam(block.parameters(), lr=0.02)
        for _ in range(150):
            loss = F.mse_loss(block.reconstruct(x, kept), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    assert trained(8) < trained(4) < trained(1)


def test_the_published_epochs_of_each_rate():
    rates = [next(r for until, r in RATES if epoch + 0.5 < until * 100) for epoch in range(100)]
    assert [rates.count(rate) for rate in (1e-3, 1e-4, 1e-5)] == [10, 60, 30]


@pytest.fixture
def srm(output, artefact, data, tiny_net):
    def make(s, t, **config):
        torch.manual_seed(0)
        method = SRM(s, t, dictionary_epochs=1, **config).double()
        teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
        method.prepare(teacher, data, artefact)
        return method

    return make


def test_sizes_are_the_published_ones(output):
    t = output(widths=(128, 256, 1024), sizes=(8, 4, 2), batch=1)
    method = SRM(t, t)
    assert method.atoms == [256, 512, 2048]
    assert method.kept == [5, 10, 40]
    small = SRM(output(), output())
    assert small.atoms == [8, 12, 16]
    assert small.kept == [1, 1, 1]


def test_matching_comes_first_and_soft_labels_after(srm, output, batch_of):
    s, t, batch = output(), output(1, widths=(5, 7, 9, 12), sizes=(10, 8, 6, 4)), batch_of()
    method = srm(s, t)
    method.schedule(0.44)
    losses = method(s, t, batch)
    assert losses.keys() == {"pixel", "image"}
    sum(losses.values()).backward()
    assert s.logits.grad is None
    assert all(f.grad.abs().sum() > 0 for f in s.stages)
    method.schedule(0.45)
    losses = method(s, t, batch)
    assert losses["ce"].item() == pytest.approx(
        0.7 * F.cross_entropy(s.logits, batch.target).item()
    )
    assert losses["kd"].item() == pytest.approx(0.3 * kd_loss(s.logits, t.logits, 4.0).item())


def test_losses_are_summed_over_the_paired_stages(srm, output, batch_of):
    s, t = output(), output(1, widths=(5, 7, 9, 12), sizes=(10, 8, 6, 4))
    method = srm(s, t, pixel=2.0, image=3.0)
    pixel = image = 0.0
    for layer in range(3):
        f_s, f_t = s.stages[layer], t.stages[layer + 1]
        f_t = F.adaptive_avg_pool2d(f_t, f_s.shape[2:])
        block = method.dictionaries[layer]
        code = block.code(f_t, method.kept[layer])
        score = method.heads[layer].score(f_s)
        pixel += F.cross_entropy(score.sigmoid(), block.score(f_t).argmax(1)).item()
        mean = score.sigmoid().mean((2, 3))
        image += F.binary_cross_entropy(mean, code.mean((2, 3))).item()
    losses = method(s, t, batch_of())
    assert losses["pixel"].item() == pytest.approx(2 * pixel)
    assert losses["image"].item() == pytest.approx(3 * image, rel=1e-6)


def test_dictionaries_are_not_trained_with_the_student(srm, output):
    s, t = output(), output(1, widths=(5, 7, 9, 12), sizes=(10, 8, 6, 4))
    method = srm(s, t)
    trained = {id(p) for p in method.parameters()}
    assert len(trained) == 6
    for block in method.dictionaries:
        assert not any(p.requires_grad or id(p) in trained for p in block.parameters())


def test_what_it_refuses(output):
    for config, message in (
        ({"sparsity": 0.0}, "sparsity=0"),
        ({"matching": 1.5}, "matching is 1.5"),
        ({"pixel_logits": "log"}, "pixel_logits is 'log'"),
        ({"temperature": 0.0}, "temperature is"),
        ({"dictionary_epochs": 0}, "dictionary_epochs is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SRM(output(), output(), **config)
    with pytest.raises(ValueError, match="student has 5 classes and the teacher 7"):
        SRM(output(), output(classes=7))


def test_golden_trace(trace):
    assert trace(SRM, dictionary_epochs=2) == {
        "pixel": pytest.approx([8.68021092, 8.68239816], rel=1e-5),
        "image": pytest.approx([1.27495615, 1.27880048], rel=1e-5),
        "ce": pytest.approx([1.10956589], rel=1e-5),
        "kd": pytest.approx([0.0123541907], rel=1e-5),
    }
