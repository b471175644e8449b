import math

import pytest
import torch

from raykd.modules.memory_bank import MemoryBank, Negatives


def test_an_entry_moves_towards_its_embedding_and_keeps_length_one():
    bank = MemoryBank(4, 3, momentum=0.5).double()
    bank.entries[:] = torch.eye(4, 3, dtype=torch.float64)
    bank.update(torch.tensor([1]), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    expected = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    assert torch.allclose(bank.entries[1], expected)
    assert torch.equal(bank.entries[[0, 2]], torch.eye(4, 3, dtype=torch.float64)[[0, 2]])


def test_entries_start_random_at_a_length_of_about_one():
    torch.manual_seed(0)
    entries = MemoryBank(500, 128, momentum=0.5).entries
    assert entries.norm(dim=1).mean().item() == pytest.approx(1, abs=0.01)
    assert entries.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_what_can_not_be_normalised_does_not_poison_the_bank(bad):
    bank = MemoryBank(2, 3, momentum=0.0)
    before = bank.entries.clone()
    bank.update(torch.tensor([0]), torch.full((1, 3), bad))
    assert torch.equal(bank.entries, before)


def test_negatives_are_of_other_classes_and_drawn_without_replacement():
    torch.manual_seed(0)
    targets = torch.tensor([0, 1, 2, 2, 1, 0, 0, 3, 1, 2])
    negatives = Negatives(targets, 4)
    target = torch.tensor([0, 3, 2])
    for _ in range(20):
        order, taken = negatives.draw(target)
        assert len(set(order.tolist())) == len(order)
        assert taken.sum(1).tolist() == [4, 4, 4]
        for c, row in zip(target, taken, strict=True):
            assert (targets[order[row]] != c).all()


def test_every_negative_is_as_likely_as_any_other():
    torch.manual_seed(0)
    targets = torch.tensor([0] * 5 + [1] * 2 + [2] * 3)
    negatives = Negatives(targets, 3)
    counts = torch.zeros(3, 10)
    draws = 4000
    for _ in range(draws):
        order, taken = negatives.draw(torch.arange(3))
        for row in range(3):
            counts[row, order[taken[row]]] += 1
    for row in range(3):
        others = counts[row][targets != row]
        expected = draws * 3 / len(others)
        deviation = math.sqrt(draws * (3 / len(others)) * (1 - 3 / len(others)))
        assert (others - expected).abs().max() < 4 * deviation + 1
        assert counts[row][targets == row].sum() == 0


def test_their_number_is_what_the_largest_class_leaves():
    targets = torch.tensor([0] * 7 + [1, 2, 2])
    assert Negatives(targets, 16384).count == 3
    assert Negatives(targets, 2).count == 2
    _, taken = Negatives(targets, 16384).draw(torch.tensor([0, 1]))
    assert taken.sum(1).tolist() == [3, 3]


def test_what_negatives_refuse():
    with pytest.raises(ValueError, match="all 5 training samples are of one class"):
        Negatives(torch.ones(5, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match="number of negatives is 0"):
        Negatives(torch.arange(5), 0)
