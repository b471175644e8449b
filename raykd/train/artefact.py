"""Artefacts: tensors that depend on part of the configuration only, computed once and shared."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from raykd.store import Folder, StoreError
from raykd.store.errors import DamagedObjectError, MissingObjectError
from raykd.store.names import is_sha256
from raykd.store.records import from_json


class Artefacts:
    """A cache of tensors under `<root>/artefacts/<kind>/<hash of their configuration>/`.

    If two processes compute the same artefact at the same time, both return what the first one
    stored.

    Args:
        folder: Root folder of the store.
        shared: Configuration that is part of every artefact's, such as the teacher and the data.
    """

    def __init__(self, folder: Folder, shared: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.shared = shared or {}

    def path(self, kind: str, config: dict[str, Any]) -> str:
        """Returns an artefact's folder relative to the root."""
        text = json.dumps({**self.shared, **config}, sort_keys=True, default=str)
        return f"artefacts/{kind}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def __call__(
        self, kind: str, config: dict[str, Any], make: Callable[[], dict[str, Tensor]], /
    ) -> dict[str, Tensor]:
        """Returns an artefact's tensors on the CPU; computes and stores them if they are missing.

        Tensors with values that are not finite are returned but not stored, so that the trials
        that use them fail.

        Args:
            kind: Name of the kind of artefact, such as `teacher`.
            config: JSON-serialisable configuration on which the tensors depend.
            make: Computes the tensors, by name.

        Raises:
            StoreError: The stored artefact is damaged: a part is missing, or its SHA-256 differs.
        """
        path = self.path(kind, config)
        record = f"{path}/artefact.json"
        if not self.folder.exists(record):
            made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
            if not all(tensor.isfinite().all() for tensor in made.values()):
                return made
            data = save(made)
            sha256 = hashlib.sha256(data).hexdigest()
            self.folder.write(f"{path}/{sha256}.safetensors", data)
            description = {"kind": kind, "sha256": sha256, **self.shared, **config}
            text = json.dumps(description, sort_keys=True, indent=1, default=str)
            self.folder.write(record, text.encode(), if_absent=True)
        try:
            described = from_json(self.folder.read(record))
            sha256 = described.get("sha256", "") if isinstance(described, dict) else ""
            if not is_sha256(sha256):
                raise DamagedObjectError(f"its sha256 is {sha256!r}")
            stored = self.folder.read(f"{path}/{sha256}.safetensors")
        except (DamagedObjectError, MissingObjectError) as error:
            raise StoreError(
                f"the artefact {path} is not whole ({error}); delete that folder to have it made"
                " again"
            ) from error
        if hashlib.sha256(stored).hexdigest() != sha256:
            raise StoreError(
                f"the artefact {path} was changed after it was written: its SHA-256 is not"
                f" {sha256}; delete that folder to have it made again"
            )
        try:
            tensors: dict[str, Tensor] = load(stored)
        except SafetensorError as error:
            raise StoreError(
                f"the artefact {path} holds no safetensors ({error}); delete that folder to have it"
                " made again"
            ) from error
        return tensors
