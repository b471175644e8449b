"""The teacher of a cohort: frozen, in eval mode, asked once a batch."""

import hashlib

import torch
from torch import nn

from raykd.data import Batch
from raykd.models import Output


def digest(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of a module's state."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        sha.update(f"{name} {data.dtype} {tuple(data.shape)};".encode())
        sha.update(data.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


class Teacher:
    """A frozen model in eval mode; one forward pass a batch, whatever the number of students.

    Args:
        model: The network; its parameters stop asking for gradients.
        autocast: Whether it runs in bfloat16. What it returns is float32 in any case.
    """

    def __init__(self, model: nn.Module, *, autocast: bool = False) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.autocast = autocast
        self.digest = digest(model)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Output:
        """Returns what the teacher says about the batch, in float32 and without gradient."""
        with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=self.autocast):
            output: Output = self.model(batch.input)
        return output.map(torch.Tensor.float)

    def verify(self) -> None:
        """Checks that training has left the teacher as it was, bit for bit.

        Raises:
            RuntimeError: A parameter or a buffer differs from what it was at the start.
        """
        if digest(self.model) != self.digest:
            raise RuntimeError(
                "the teacher's state changed during training; what was learnt from it is void."
                " Look for a module that updates buffers in eval mode, or a shared module"
            )
