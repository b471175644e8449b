#!/usr/bin/env python
"""Checks raykd's numbers on a GPU, and measures the speed and the memory of a cohort.

    python benchmarks/gpu.py --out FOLDER [--device cpu --smoke]

It needs this checkout, torch, torchvision and numpy, and two small pure-Python wheels: `jaxtyping`
and its dependency `wadler-lindig`. If they are missing, download them with `pip download --no-deps`
and put the unpacked wheels on PYTHONPATH. `pyarrow`, `safetensors`, `ray` and `optuna` are not
imported. Nothing is downloaded: all images are made up and all weights are random.

Each part runs in a process of its own, which is ended at its time limit. All parts together take at
most 8 minutes:

- `ceiling`: speed of a large matrix product and of a copy on this card.
- `steps`: one step of each model family and each method, in float32 (TF32 off) and bfloat16,
  compared with the CPU's float32 results.
- `cohort`: a student trained alone and in a cohort, which must agree to the last bit, with
  deterministic kernels.
- `speed`: images per second of `raykd.train.loop.fit` with the live teacher, for 1, 4 and 16
  students; memory of each further student; share of the card's peak.

Each result is written at once as a line of FOLDER/results.jsonl; FOLDER/summary.md has tables.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from raykd.data import Batch
    from raykd.methods import Method
    from raykd.train.student import Student
    from raykd.train.teacher import Teacher

ALL = 480.0
"""Time limit of all parts together, in seconds."""
PARTS = {"ceiling": 40.0, "steps": 120.0, "cohort": 60.0, "speed": 290.0}
"""Time limit of each part, in seconds."""

FAMILIES = {  # the smallest factory of each file of raykd/models
    "resnet": "resnet8",
    "wrn": "wrn_16_1",
    "vgg": "vgg8",
    "mobilenetv2": "mobilenetv2_half",
    "shufflenetv1": "shufflenetv1",
    "shufflenetv2": "shufflenetv2",
    "resnet_cifar": "resnet18_cifar",
    "recu": "resnet20_1w1a",
    "imagenet": "resnet18",
}

PAIRS = {  # teacher, student, classes, size, batch
    "R32x4 -> R8x4, 64": ("resnet32x4", "resnet8x4", 100, 32, 64),
    "R56 -> R20, 64": ("resnet56", "resnet20", 100, 32, 64),
    "R34 -> R18 at 224, 64": ("resnet34", "resnet18", 1000, 224, 64),
    "R34 -> R18 at 224, 256": ("resnet34", "resnet18", 1000, 224, 256),
}
TINY = {"R14 -> R8, 4": ("resnet14", "resnet8", 10, 32, 4)}

TOLERANCE = {"float32": (1e-4, 1e-2), "bfloat16": (0.1, 0.5)}
"""Relative differences of the loss and of the whole gradient (2-norm) that count as equal.

Kernels sum in another order than the CPU's, and a deep network without training enlarges that.
bfloat16 keeps 8 bits. The gradient of a whole model in bfloat16 is only reported: without training
and with small batches that of MobileNet, ShuffleNet and binary networks is off by its own length on
a CPU as well.
"""

PEAKS = {  # dense, of NVIDIA's data sheets: bfloat16 and TF32 FLOP/s, bytes/s of memory
    "B200": (2250e12, 1100e12, 8.0e12),
    "H200": (989e12, 494e12, 4.8e12),
    "H100 PCIe": (756e12, 378e12, 2.0e12),
    "H100 NVL": (835e12, 417e12, 3.9e12),
    "H100": (989e12, 494e12, 3.35e12),
    "A100": (312e12, 156e12, 2.0e12),
    "L40S": (362e12, 183e12, 0.864e12),
    "L4": (121e12, 60e12, 0.3e12),
    "A10": (125e12, 62e12, 0.6e12),
}


class Fixed:
    """Data set that repeats batches which are on the device already, so reading costs nothing."""

    def __init__(self, classes: int, size: int, batch: int, steps: int, device: str) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)  # the same images on every device
        self.classes, self.shape = classes, (3, size, size)
        self.batch_size, self.steps = batch, steps
        self.targets = (torch.arange(2 * batch) % classes).to(device)
        images = torch.randn(2 * batch, *self.shape, generator=generator)
        self.images = images.to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def train(self, epoch: int, start: int = 0) -> "Iterator[Batch]":
        """Yields the batches."""
        for step in range(start, self.steps):
            yield self.at(step % 2)

    def at(self, half: int) -> "Batch":
        """Returns one half of the images."""
        import torch

        from raykd.data import Batch

        rows = torch.arange(self.batch_size, device=self.images.device) + half * self.batch_size
        return Batch(rows, self.images[rows], self.targets[rows])

    def validation(self) -> "Iterator[Batch]":
        """Yields the first half."""
        yield self.at(0)

    def test(self) -> "Iterator[Batch]":
        """Yields the second half."""
        yield self.at(1)

    def describe(self) -> dict[str, Any]:
        """Returns a description of the data."""
        return {"name": "fixed"}


def ceiling(options: argparse.Namespace, tell: Callable[..., None]) -> None:
    """Measures a matrix product of each precision and a copy."""
    import torch

    n = 256 if options.smoke else 8192
    for name, dtype in (("bfloat16", torch.bfloat16), ("tf32", torch.float32)):
        a = torch.randn(n, n, device=options.device).to(dtype)
        seconds = timed(partial(torch.matmul, a, a), options.device)
        tell(kernel=f"matmul {name}", flops=2 * n**3 / seconds)
    seconds = timed(lambda: a.clone(), options.device)
    tell(kernel="copy", bytes_per_second=2 * a.nbytes / seconds)


def steps(options: argparse.Namespace, tell: Callable[..., None]) -> None:
    """Compares a step of each family and each method with the CPU's."""
    from raykd.methods import find, names
    from raykd.methods.vanilla import Vanilla

    for file, name in list(FAMILIES.items())[: 1 if options.smoke else None]:
        size = 64 if file == "imagenet" else 32
        alike(f"model {name}", partial(network(name), 10, 3), None, Vanilla, size, options, tell)
    methods = ["kd", "crd"] if options.smoke else names()
    for name in methods:
        method = find(name)
        once = [key for key in method.hyperparameters() if key.endswith("epochs")]
        few: dict[str, Any] = dict.fromkeys(once, 1)
        make = partial(method, **few)
        student, teacher = (partial(network(x), 10, 3) for x in ("resnet8", "resnet14"))
        alike(f"method {name}", student, teacher, make, 32, options, tell)


def alike(
    what: str,
    student: "Callable[[], nn.Module]",
    teacher: "Callable[[], nn.Module] | None",
    method: "Callable[..., Method]",
    size: int,
    options: argparse.Namespace,
    tell: Callable[..., None],
) -> None:
    """Reports the differences of loss and gradient from the CPU's results in float32."""
    made: dict[str, dict[str, Tensor]] = {}

    def artefact(kind: str, config: dict[str, Any], make: Any, /) -> "dict[str, Tensor]":
        key = f"{kind} {sorted(config.items())}"  # made on the CPU, which comes first
        if key not in made:
            made[key] = {name: tensor.detach().cpu() for name, tensor in make().items()}
        return made[key]

    expected, gradient = one_step(student, teacher, method, size, "cpu", "float32", artefact)
    for precision, (of_loss, of_gradient) in TOLERANCE.items():
        try:
            loss, other = one_step(
                student, teacher, method, size, options.device, precision, artefact
            )
        except (RuntimeError, ValueError, TypeError) as error:
            tell(what=what, precision=precision, ok=False, error=str(error)[:500])
            continue
        off = abs(loss - expected) / max(abs(expected), 1e-6)
        apart = ((other - gradient).norm() / gradient.norm()).item()
        reported = what.startswith("model") and precision == "bfloat16"
        ok = off <= of_loss and (apart <= of_gradient or reported)
        tell(what=what, precision=precision, ok=ok, loss=loss, loss_off=off, gradient_off=apart)


def one_step(
    student: "Callable[[], nn.Module]",
    teacher: "Callable[[], nn.Module] | None",
    method: "Callable[..., Method]",
    size: int,
    device: str,
    precision: str,
    artefact: Any,
) -> "tuple[float, Tensor]":
    """Returns the loss and the gradient of the network, in float64 on the CPU."""
    import torch

    exact()
    data = Fixed(10, size, 20 if size == 32 else 4, 2, device)  # 40 samples of 10 classes:
    # contrastive methods take all negatives, whatever order a device draws them in
    guide = make_teacher(teacher, device, precision) if teacher else None
    pupil = make_student("0", student, guide, method, data, precision, device)
    if guide:
        with pupil.random.use():
            pupil.loss.method.prepare(guide.model, data, artefact)
    pupil.begin(0)
    batch = data.at(0)
    with pupil.random.use():
        terms, _ = pupil.loss(batch, guide(batch) if guide else None)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    parameters = pupil.model.parameters()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return loss.item(), torch.cat([g.detach().cpu().double().flatten() for g in found])


def cohort(options: argparse.Namespace, tell: Callable[..., None]) -> None:
    """Compares the weights after an epoch alone with those among others."""
    import torch

    from raykd.methods.itrd import ITRD
    from raykd.train.loop import fit

    exact()
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    make_s, make_t = (partial(network(name), 10, 3) for name in ("resnet8", "resnet14"))
    batch, count = (4, 2) if options.smoke else (16, 20)
    data = Fixed(10, 32, batch, count, options.device)
    for precision in TOLERANCE:
        weights: dict[str, list[Tensor]] = {}
        for trials in (["a"], ["b", "a", "c"]):
            guide = make_teacher(make_t, options.device, precision)
            pupils = [
                make_student(t, make_s, guide, ITRD, data, precision, options.device, ord(t))
                for t in trials
            ]
            list(fit(pupils, guide, data, 1))
            guide.verify()
            [mine] = [pupil for pupil in pupils if pupil.trial == "a"]
            weights[f"of {len(trials)}"] = [p.detach().cpu() for p in mine.model.parameters()]
        alone, among = weights.values()
        apart = max(float((a - b).abs().max()) for a, b in zip(alone, among, strict=True))
        tell(precision=precision, ok=apart == 0, largest_difference=apart)


def speed(options: argparse.Namespace, tell: Callable[..., None]) -> None:
    """Times the fit step of each pair."""
    import torch

    torch.backends.cudnn.benchmark = True
    for pair in TINY if options.smoke else PAIRS:
        for precision in ("float32", "bfloat16"):
            for students in (1, 2) if options.smoke else (1, 4, 16):
                torch.set_float32_matmul_precision("high")
                torch.backends.cudnn.allow_tf32 = True
                try:
                    measure(pair, precision, students, options, tell)
                except torch.OutOfMemoryError as error:
                    tell(pair=pair, precision=precision, students=students, error=str(error)[:200])
                if options.device != "cpu":
                    torch.cuda.empty_cache()


def measure(
    pair: str, precision: str, students: int, options: argparse.Namespace, tell: Callable[..., None]
) -> None:
    """Times training with one number of students: the median over windows of steps."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from raykd.methods.itrd import ITRD
    from raykd.train.loop import fit

    gpu = options.device != "cpu"
    teacher, student, classes, size, batch = (TINY | PAIRS)[pair]
    warm, window, windows = (1, 1, 2) if options.smoke else (6, 4, 7)
    data = Fixed(classes, size, batch, warm + window * windows, options.device)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    guide = make_teacher(partial(network(teacher), classes, 3), options.device, precision)
    make = partial(network(student), classes, 3)
    pupils = [
        make_student(str(i), make, guide, ITRD, data, precision, options.device, i)
        for i in range(students)
    ]
    with FlopCounterMode(display=False) as asked:
        t = guide(data.at(0))
    pupils[0].begin(0)
    with FlopCounterMode(display=False) as learned:
        pupils[0].step(data.at(0), t)
    flops = asked.get_total_flops() + students * learned.get_total_flops()
    seen: list[float] = []

    def after(epoch: int, step: int) -> None:
        if step >= warm and (step - warm) % window == 0:
            if gpu:
                torch.cuda.synchronize()
            seen.append(time.perf_counter())

    del t
    list(fit(pupils, guide, data, 1, after=after))
    seconds = statistics.median(b - a for a, b in pairwise(seen)) / window
    peak = torch.cuda.max_memory_allocated() if gpu else 0
    tell(
        pair=pair,
        precision=precision + (" (TF32)" if precision == "float32" else ""),
        students=students,
        step_ms=1e3 * seconds,
        images_per_second=batch / seconds,
        trial_images_per_second=students * batch / seconds,
        peak_memory_bytes=peak,
        flops=flops / seconds,
        share_of_peak=share_of_peak(options.device, precision, flops / seconds),
    )


def share_of_peak(device: str, precision: str, flops: float) -> float | None:
    """Returns the share of the data sheet's dense FLOP/s, or None if `PEAKS` lacks the card."""
    card = card_name(device)
    known = next((peaks for name, peaks in PEAKS.items() if name in card), None)
    return None if known is None else flops / known[0 if precision == "bfloat16" else 1]


def network(name: str) -> "Callable[..., nn.Module]":
    """Imports a factory by its file: `raykd.models.find` would import pyarrow as well."""
    files = {name: file for file, name in FAMILIES.items()} | {"resnet34": "imagenet"}
    made: Callable[..., nn.Module] = getattr(
        import_module(f"raykd.models.{files.get(name, 'resnet')}"), name
    )
    return made


def make_teacher(make: "Callable[[], nn.Module]", device: str, precision: str) -> "Teacher":
    import torch

    from raykd.train.teacher import Teacher

    torch.manual_seed(1)
    return Teacher(make().to(device), autocast=precision == "bfloat16")


def make_student(
    trial: str,
    make: "Callable[[], nn.Module]",
    guide: "Teacher | None",
    method: "Callable[..., Method]",
    data: Fixed,
    precision: str,
    device: str,
    seed: int = 0,
) -> "Student":
    import torch

    from raykd.train.recipe import Recipe
    from raykd.train.student import Student

    example = torch.zeros(2, *data.shape, device=device)
    t = None
    if guide:
        with torch.no_grad():
            t = guide.model(example)
    recipe = Recipe(epochs=1, precision=precision)
    return Student(trial, make, method, example, t, recipe, data.steps, seed=seed)


def exact() -> None:
    """Disables TF32, so that float32 operations are computed in full float32."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def timed(run: Callable[[], object], device: str) -> float:
    """Returns the median time of a call in seconds, after a warm-up."""
    import torch

    seconds = []
    for _ in range(13):
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def card_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device != "cpu" else "CPU"


def write(file: Path, part: str, **result: Any) -> None:
    """Appends a result as a line and flushes it to disk."""
    line = json.dumps({"part": part, **result})
    with file.open("a") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    print(line, flush=True)


def run_part(options: argparse.Namespace, file: Path, seconds: float) -> None:
    """Runs a part in a process of its own, and reports the reason if it ended early."""
    command = [sys.executable, __file__, "--out", str(options.out), "--device", options.device]
    command += ["--part", options.part, *(["--smoke"] if options.smoke else [])]
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    env = {**os.environ, "PYTHONPATH": path, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=env, timeout=seconds, stderr=subprocess.PIPE, text=True)
        tail = done.stderr.strip()[-2000:]
        ended = {"ended": "complete"} if done.returncode == 0 else {"ended": "failed", "why": tail}
    except subprocess.TimeoutExpired:
        ended = {"ended": f"stopped at its limit of {seconds:.0f} s"}
    write(file, options.part, **ended, seconds=round(time.monotonic() - start, 1))


def summarise(folder: Path) -> str:
    """Returns tables of the results, and writes them to summary.md."""
    lines = (folder / "results.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    parts = [r for r in results if "ended" in r]
    text = [f"# raykd on {next((r['card'] for r in results if 'card' in r), 'an unknown card')}"]
    text += ["", "| part | seconds | ended |", "| --- | --- | --- |"]
    text += [f"| {r['part']} | {r['seconds']} | {r['ended']} |" for r in parts]
    checks = [r for r in results if "ok" in r]
    wrong = [r for r in checks if not r["ok"]]
    text += ["", f"{len(checks) - len(wrong)} of {len(checks)} comparisons within tolerance."]
    text += [f"- {json.dumps(r)}" for r in wrong]
    text += [
        "",
        *(
            f"{r['kernel']}: {r.get('flops', r.get('bytes_per_second')):.3g} /s"
            for r in results
            if "kernel" in r
        ),
    ]
    text += ["", "| pair, batch | precision | students | trial-images/s | share of peak |"]
    text[-1] += " memory of a further student, MB |"
    text += ["| --- | --- | --- | --- | --- | --- |"]
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for r in results:
        if "step_ms" not in r:
            continue
        one = first.setdefault((r["pair"], r["precision"]), r)
        more = r["students"] - one["students"]
        memory = (r["peak_memory_bytes"] - one["peak_memory_bytes"]) / more / 1e6 if more else None
        share = r["share_of_peak"]
        text.append(
            f"| {r['pair']} | {r['precision']} | {r['students']} |"
            f" {r['trial_images_per_second']:,.0f} | {'' if share is None else f'{share:.1%}'} |"
            f" {'' if memory is None else f'{memory:.0f}'} |"
        )
    (folder / "summary.md").write_text("\n".join(text) + "\n")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--part", choices=PARTS, help="run this part alone, here")
    options = parser.parse_args()
    file = options.out / "results.jsonl"
    if options.part:
        import torch

        tell = partial(write, file, options.part)
        tell(card=card_name(options.device), torch=torch.__version__, cuda=torch.version.cuda)
        parts = {"ceiling": ceiling, "steps": steps, "cohort": cohort, "speed": speed}
        parts[options.part](options, tell)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    start = time.monotonic()
    for part, limit in PARTS.items():
        left = ALL - 5 - (time.monotonic() - start)
        options.part = part
        run_part(options, file, ALL if options.smoke else max(1.0, min(limit, left)))
    print(summarise(options.out))
    ends = [json.loads(line).get("ended", "complete") for line in file.read_text().splitlines()]
    sys.exit(any(end != "complete" for end in ends))


if __name__ == "__main__":
    main()
