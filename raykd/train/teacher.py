"""The teacher of a cohort: a frozen network in eval mode that sees each batch once."""

import hashlib

import torch
from torch import nn

from raykd.data import Batch
from raykd.models import Output


def digest(module: nn.Module) -> str:
    """Returns the SHA-256 of the names, types, shapes and bytes in a module's state, in hex."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        sha.update(f"{name} {data.dtype} {tuple(data.shape)};".encode())
        sha.update(data.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


class Teacher:
    """A frozen model in eval mode: one forward pass per batch, whatever the number of students.

    Args:
        model: Network of the teacher. It is changed in place: eval mode, no gradients for its
            parameters, and channels-last memory format.
        autocast: True to run the network in bfloat16. Its outputs are float32 in any case.

    Attributes:
        digest: SHA-256 of the network's state at the start, in hex.
    """

    def __init__(self, model: nn.Module, *, autocast: bool = False) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.autocast = autocast
        self.digest = digest(model)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Output:
        """Returns the teacher's output for a batch, in float32 and without gradient."""
        with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=self.autocast):
            output: Output = self.model(batch.input)
        return output.map(torch.Tensor.float)

    def verify(self) -> None:
        """Checks that training left the teacher's state unchanged, bit for bit.

        Raises:
            RuntimeError: A parameter or a buffer differs from its value at the start.
        """
        if digest(self.model) != self.digest:
            raise RuntimeError(
                "the teacher's state changed during training; what was learnt from it is void."
                " Look for a module that updates buffers in eval mode, or a shared module"
            )
