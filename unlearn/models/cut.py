"""Cuts a network in two at the output of a layer: upper(lower(images)) is the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from unlearn.models.logits import find_logits

_OWN = "network."  # under which a network lies in `_Single`


@dataclass(frozen=True)
class Cut:
    """A network in two parts, which share its layers and weights.

    Args:
        place: Name of the layer after whose output the network is cut.
        lower: Maps images (B, C, H, W) to features at the place.
        upper: Maps these features to logits (B, K).
    """

    place: str
    lower: nn.Module
    upper: nn.Module


class _Single(nn.Module):
    """A network as a function of the images alone, whose other arguments keep their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """Map images (B, C, H, W) to the logits, wherever the network puts them."""
        output = self.network(images)
        return output if isinstance(output, fx.Proxy) else find_logits(output, fx.Proxy)


class _Recorder(fx.Tracer):
    """Follows a network's operations, and notes which one gives each layer's output."""

    def __init__(self, leaves: set[str]) -> None:
        super().__init__()
        self.outputs: dict[str, fx.Node] = {}
        self.leaves, self.inside = leaves, list[str]()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Treat torch's own layers, and those that cannot be followed, as one operation each."""
        own = module_qualified_name.removeprefix(_OWN)
        return own in self.leaves or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Follow a layer; note the operation that gives its output."""
        name = self.path_of_module(m).removeprefix(_OWN)
        self.inside.append(name)
        output = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        if isinstance(output, fx.Proxy) and self.inside:
            self.outputs[name] = output.node
        return output


def _trace(network: _Single) -> tuple[fx.Graph, dict[str, fx.Node]] | None:
    """Return a network's operations, and the one that gives each layer's output.

    A layer whose code cannot be followed, because it branches on values, counts as one operation.

    Args:
        network: Any network, alone in a `_Single`. Its layers' modes decide what is followed.

    Returns:
        None if the network's own code cannot be followed.
    """
    leaves: set[str] = set()
    while True:
        recorder = _Recorder(leaves)
        try:
            return recorder.trace(network), recorder.outputs
        except Exception:  # whatever a user's `forward` does with a stand-in for a tensor
            if len(recorder.inside) < 2 or recorder.inside[-1] in leaves:  # the network itself
                return None
            leaves.add(recorder.inside[-1])


def list_places(network: nn.Module) -> dict[str, float]:
    """Find the layers after whose output a network can be cut, from the images to the logits.

    Args:
        network: Any network.

    Returns:
        For each layer's name the share of the layers with weights that have been passed there, from
        0 to 1. It is empty if the network's own code cannot be followed.
    """
    whole = _Single(network)
    found = _trace(whole)
    if found is None:
        return {}
    graph, outputs = found
    passed, done = dict[fx.Node, int](), 0
    for node in graph.nodes:
        if node.op == "call_module":
            done += _count_weights(whole.get_submodule(str(node.target)))
        passed[node] = done
    alone = set(_separators(graph))
    names = {node: name for name, node in outputs.items() if node in alone}  # the outermost name
    return {names[node]: passed[node] / max(1, done) for node in graph.nodes if node in names}


def _count_weights(layer: nn.Module) -> int:
    """The number of matrices and convolutions in a layer."""
    return sum(any(p.dim() > 1 for p in m.parameters(recurse=False)) for m in layer.modules())


def cut(network: nn.Module, place: str) -> Cut:
    """Cut a network at the output of a layer.

    Args:
        network: Any network; it is not changed, and its parts share its weights.
        place: Name of the layer, a key of `list_places`.

    Raises:
        KeyError: If the network cannot be cut there.
    """
    whole = _Single(network)
    found = _trace(whole)
    if found is None:
        raise KeyError(place)
    graph, outputs = found
    node = outputs[place]
    if node not in set(_separators(graph)):
        raise KeyError(place)
    return Cut(place, _take_lower(whole, graph, node), _take_upper(whole, graph, node))


def _separators(graph: fx.Graph) -> Iterator[fx.Node]:
    """Yield the operations through whose output alone the images reach the logits."""
    nodes = list(graph.nodes)
    order = {node: index for index, node in enumerate(nodes)}
    depends: set[fx.Node] = set()  # operations whose value depends on the images
    furthest = -1  # last use of any value that depends on the images and was made so far
    for index, node in enumerate(nodes):
        if node.op == "placeholder":
            if index:  # an argument beside the images, which keeps its default
                continue
        elif not any(argument in depends for argument in node.all_input_nodes):
            continue
        if node.op not in ("placeholder", "output") and furthest <= index:
            yield node
        depends.add(node)
        furthest = max([furthest, *(order[user] for user in node.users)])


def _take_lower(network: nn.Module, graph: fx.Graph, node: fx.Node) -> nn.Module:
    lower = fx.Graph()
    copies = _copy_needed(graph, [node], lower, {})
    lower.output(copies[node])
    return fx.GraphModule(network, lower)


def _take_upper(network: nn.Module, graph: fx.Graph, node: fx.Node) -> nn.Module:
    upper = fx.Graph()
    last = next(other for other in graph.nodes if other.op == "output")
    _copy_needed(graph, [last], upper, {node: upper.placeholder("features")})
    return fx.GraphModule(network, upper)


def _copy_needed(
    graph: fx.Graph, wanted: list[fx.Node], into: fx.Graph, copies: dict[fx.Node, fx.Node]
) -> dict[fx.Node, fx.Node]:
    """Copy the operations that the wanted ones need, except what has a copy already."""
    needed: set[fx.Node] = set()
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in needed and node not in copies:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    for node in graph.nodes:
        if node in needed:
            copies[node] = into.node_copy(node, copies.__getitem__)
    return copies
