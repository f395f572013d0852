"""Several networks of one architecture side by side: many runs as one computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils import _pytree as tree

from unlearn.hardware import Hardware
from unlearn.models.attention import AttentionTaps


@dataclass(frozen=True)
class Member:
    """One network as `each` hands it over: it runs in the hardware's precision and layout.

    `body` is the module whose layers a forward pass goes through, for whoever hooks them.
    """

    forward: Callable[[Tensor], Tensor]
    body: nn.Module
    taps: AttentionTaps
    hardware: Hardware
    stacked: bool

    def __call__(self, inputs: Tensor) -> Tensor:
        """Float32 outputs of the network."""
        with self.hardware.autocast():
            return self.forward(self._laid_out(inputs)).float()

    def attend(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Float32 logits (B, K), and the attention maps (B, H * W) of the tapped layers."""
        with self.hardware.autocast():
            logits, maps = self.taps(self._laid_out(images), self.forward)
        return logits.float(), maps

    def _laid_out(self, inputs: Tensor) -> Tensor:
        images = inputs.dim() == 4 and not self.stacked  # vmap knows no memory formats
        return self.hardware.layout(inputs) if images else inputs


class Members(ExitStack):
    """Networks of one architecture, one a run; a lone run has one.

    Where they are not stacked, each keeps its weights and is run in its turn. Stacked, their
    weights are one tensor (M, ...) each and one operation does the work of all: that pays on a
    GPU, while a CPU's grouped convolutions cost more than the turns.

    Args:
        networks: M of them, in the same modes.
        hardware: precision and layout.
        stacked: whether to stack them.
        layers: whose attention `Member.attend` gives, while this is entered.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        hardware: Hardware,
        *,
        stacked: bool = False,
        layers: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.networks, self.hardware = list(networks), hardware
        self.stacked = stacked and len(self.networks) > 1
        bodies = self.networks[:1] if self.stacked else self.networks
        self._taps = [self.enter_context(AttentionTaps(body, layers)) for body in bodies]
        if self.stacked:
            self._weights, self._buffers = stack_module_state(self.networks)
            for name, parameter in self.networks[0].named_parameters():
                weight = self._weights[name].detach()
                self._weights[name] = weight.requires_grad_(parameter.requires_grad)

    def __len__(self) -> int:
        return len(self.networks)

    def parameters(self) -> list[Tensor]:
        """All that an optimiser of all members steps."""
        if self.stacked:
            return list(self._weights.values())
        return [weight for network in self.networks for weight in network.parameters()]

    def clip_gradients(self, largest: float) -> None:
        """Scale each member's gradient down to a norm of at most `largest`."""
        if not self.stacked:
            for network in self.networks:
                nn.utils.clip_grad_norm_(network.parameters(), largest)
            return
        gradients = [weight.grad for weight in self._weights.values() if weight.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        factors = (largest / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def unstacked(self) -> list[nn.Module]:
        """The networks, holding their present weights and statistics."""
        if self.stacked:
            with torch.no_grad():
                for index, network in enumerate(self.networks):
                    for name, parameter in network.named_parameters():
                        parameter.copy_(self._weights[name][index])
                    for name, buffer in network.named_buffers():
                        buffer.copy_(self._buffers[name][index])
        return self.networks

    def restack(self) -> None:
        """Take what was changed in the `unstacked` networks into the stacks."""
        if self.stacked:
            with torch.no_grad():
                for index, network in enumerate(self.networks):
                    for name, parameter in network.named_parameters():
                        self._weights[name][index].copy_(parameter)

    def state_dict(self) -> dict[str, Any]:
        """Weights, statistics and train or eval modes of all networks."""
        return {
            "networks": [dict(network.state_dict()) for network in self.unstacked()],
            "training": [[m.training for m in network.modules()] for network in self.networks],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; of networks that are not stacked: stacks begin anew."""
        assert not self.stacked
        for network, weights, modes in zip(
            self.networks, state["networks"], state["training"], strict=True
        ):
            network.load_state_dict(weights)
            for module, training in zip(network.modules(), modes, strict=True):
                module.training = training

    def state(self) -> Any:
        """Stacked weights and buffers, as `each` maps over them."""
        return self._weights, self._buffers

    def member(self, index: int, state: Any = None) -> Member:
        """One network; of stacked ones, the one with this state."""
        if not self.stacked:
            network = self.networks[index]
            return Member(network, network, self._taps[index], self.hardware, stacked=False)
        body = self.networks[0]
        return Member(
            lambda inputs: functional_call(body, state, (inputs,)),
            body,
            self._taps[0],
            self.hardware,
            stacked=True,
        )


def each(function: Callable[..., Any], groups: Sequence[Members], *arguments: Any) -> Any:
    """Call `function(*members, *slices)` for each member and stack what it returns.

    Args:
        function: of one run: a member of each group and its slice of each argument; returns
            tensors in any nesting of tuples, lists and mappings.
        groups: the students, the teachers, ...: M members in each.
        arguments: tensors (M, ...) in any such nesting.

    Returns:
        What `function` returns, each tensor stacked to (M, ...).
    """
    if groups[0].stacked:

        def one(states: list[Any], *slices: Any) -> Any:
            members = [group.member(0, state) for group, state in zip(groups, states, strict=True)]
            return function(*members, *slices)

        return vmap(one, randomness="different")([g.state() for g in groups], *arguments)
    results = [
        function(
            *(group.member(index) for group in groups),
            *tree.tree_map(lambda tensor, index=index: tensor[index], arguments),
        )
        for index in range(len(groups[0]))
    ]
    return _stack(results)


def _stack(results: list[Any]) -> Any:
    leaves, shape = zip(*map(tree.tree_flatten, results), strict=True)
    columns = [
        c[0].unsqueeze(0) if len(c) == 1 else torch.stack(c) for c in zip(*leaves, strict=True)
    ]
    return tree.tree_unflatten(columns, shape[0])
