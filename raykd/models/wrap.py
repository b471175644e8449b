"""Turns any `torch.nn.Module` into a raykd model, given the names of the nodes of its features."""

from collections.abc import Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from raykd.models.output import Output


class Wrapped(nn.Module):
    """A traced module that returns an `Output`; `wrap` makes it.

    Its state dict has the same names as that of the original module, so weights can be loaded from
    one into the other.

    Args:
        extractor: Traced module that returns the outputs of the named nodes.
        stages: Names of the nodes that are the stages.
        preacts: Names of the nodes that are the stages before their non-linearity.
        pooled: Name of the node of the penultimate features.
        head: Name of the last layer.
    """

    def __init__(
        self,
        extractor: fx.GraphModule,
        stages: Sequence[str],
        preacts: Sequence[str],
        pooled: str,
        head: str,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.nodes = (tuple(stages), tuple(preacts), pooled, head)
        nn.Module.register_state_dict_post_hook(self, _bare_names)
        nn.Module.register_load_state_dict_pre_hook(self, _full_names)

    @property
    def head(self) -> nn.Module:
        """The module that turns `pooled` into `logits`."""
        return self.extractor.get_submodule(self.nodes[3])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Wrapped":
        # Copying torchvision's extractor sets it to training mode, whatever mode it was in.
        extractor = deepcopy(self.extractor, memo).train(self.extractor.training)
        twin = Wrapped(extractor, *self.nodes)
        memo[id(self)] = twin
        modes = {name: module.training for name, module in self.named_modules()}
        for name, module in twin.named_modules():
            module.training = modes[name]
        return twin

    def forward(self, x: Float[Tensor, "B ..."]) -> Output:
        """Runs the network and returns the named features."""
        found = self.extractor(x)
        stages, preacts, pooled, head = self.nodes
        return Output(
            logits=found[head],
            stages=tuple(found[name] for name in stages),
            pooled=found[pooled],
            preacts=tuple(found[name] for name in preacts),
        )


def wrap(
    module: nn.Module,
    *,
    stages: Sequence[str],
    head: str,
    pooled: str | None = None,
    preacts: Sequence[str] = (),
) -> Wrapped:
    """Makes a raykd model of a module that returns logits, by torchvision's feature extraction.

    Nodes have the names that `torchvision.models.feature_extraction.get_graph_node_names(module)`
    returns; the path of a submodule stands for its output. The result shares its parameters with
    `module`. In-place activations of `module` are changed to ordinary ones, because they would
    overwrite features.

    Args:
        module: The network.
        stages: Names of the nodes with the map after each stage, first to last.
        head: Name of the last layer, whose output is the logits.
        pooled: Name of the node with the penultimate features; by default the input of `head`.
        preacts: Names of the nodes with the `stages` before their last non-linearity, for methods
            that need them.

    Raises:
        ValueError: The module has no node of a given name, `head` doesn't receive `pooled`, or the
            module can't be traced.
    """
    leaf = _head(module, head)
    activation: Any
    for activation in module.modules():
        if getattr(activation, "inplace", False):
            activation.inplace = False
    tracing = {"leaf_modules": [type(leaf)]}
    try:
        names = get_graph_node_names(module, tracing, suppress_diff_warning=True)[1]
    except (fx.proxy.TraceError, TypeError) as error:
        raise ValueError(
            f"{type(module).__name__} can't be traced ({error}); give it a forward that returns"
            " a raykd.models.Output and a property `head` instead of wrapping it"
        ) from error
    pooled = pooled or names[names.index(head) - 1]
    wanted = [*stages, *preacts, pooled, head]
    for name in wanted:
        _check_name(name, names)
    extractor = create_feature_extractor(
        module,
        {name: name for name in wanted},
        tracer_kwargs=tracing,
        suppress_diff_warning=True,
    )
    _check_head(extractor, pooled, head)
    return Wrapped(extractor.train(module.training), stages, preacts, pooled, head)


def _head(module: nn.Module, head: str) -> nn.Module:
    paths: dict[str, nn.Module] = dict(module.named_modules())
    if head not in paths or isinstance(paths[head], nn.Sequential):
        layers = [path for path, child in paths.items() if isinstance(child, nn.Linear)]
        raise ValueError(
            f"head {head!r} isn't a layer of {type(module).__name__}; name the layer that makes"
            f" the logits. Its last linear layers: {', '.join(layers[-3:]) or 'none'}"
        )
    return paths[head]


def _check_name(name: str, names: list[str]) -> None:
    parts = [node.split(".") for node in names]
    known = list(dict.fromkeys(".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)))
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.3) or known[-5:]
        raise ValueError(
            f"there is no node {name!r} in the module; similar: {', '.join(close)}. All are in"
            " torchvision.models.feature_extraction.get_graph_node_names(module)"
        )


def _check_head(extractor: fx.GraphModule, pooled: str, head: str) -> None:
    *_, output = extractor.graph.nodes
    found: Any = output.args[0]
    if found[head].all_input_nodes != [found[pooled]]:
        raise ValueError(
            f"head {head!r} receives {found[head].all_input_nodes}, not pooled {pooled!r}; leave"
            " `pooled` out to take what the head receives"
        )


def _bare_names(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Removes `extractor.` from the names of a state dict that is being saved."""
    inner = f"{prefix}extractor."
    for name in list(state):
        if name.startswith(prefix):
            state[prefix + name.removeprefix(inner)] = state.pop(name)


def _full_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Inserts `extractor.` into the names of a state dict that is being loaded."""
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}extractor.{name.removeprefix(prefix)}"] = state.pop(name)
