"""Compares ITRD's losses as the paper writes them with raykd's closed form.

The closed form computes the teacher's side once for all students. The benchmark times the forward
and backward passes of both losses for N students of one teacher, in float32 with one thread. The
two forms take turns; the minimum over the rounds is compared. A test shows that their values agree
to 1e-12 in float64.

    python benchmarks/itrd.py
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from raykd.methods import itrd


def literal(students: list[Tensor], z_t: Tensor) -> None:
    for z_s in students:
        loss = itrd.correlation_loss(z_s, z_t, 1.01) + itrd.mutual_information_loss(z_s, z_t)
        loss.backward()


def closed(students: list[Tensor], z_t: Tensor) -> None:
    teacher = itrd.teacher_side(z_t)
    for z_s in students:
        loss = itrd.correlation_loss_closed(z_s, teacher, 1.01)
        (loss + itrd.mutual_information_loss_closed(z_s, teacher)).backward()


def best(
    step: Callable[[list[Tensor], Tensor], None], students: list[Tensor], z_t: Tensor
) -> float:
    start = time.perf_counter()
    for _ in range(20):
        step(students, z_t)
    return (time.perf_counter() - start) / 20


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| batch | width | students | literal / closed form, wall time |")
    print("| --- | --- | --- | --- |")
    for n, d in ((64, 64), (64, 256), (256, 512)):
        for count in (1, 8):
            z_t = torch.randn(n, d)
            students = [torch.randn(n, d, requires_grad=True) for _ in range(count)]
            rounds = [(best(literal, students, z_t), best(closed, students, z_t)) for _ in range(6)]
            a, b = (min(column) for column in zip(*rounds, strict=True))
            print(f"| {n} | {d} | {count} | {a / b:.2f} |", flush=True)
