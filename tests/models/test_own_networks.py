"""Networks as users write them: what they return, what they keep, and what they are built with."""

import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, spectral_norm, weight_norm

from unlearn.config.schema import DatasetConfig, ModelConfig
from unlearn.errors import ConfigError
from unlearn.models.copies import copy_network
from unlearn.models.logits import return_logits
from unlearn.models.network import attention_layers, builder

DATASET = DatasetConfig.model_validate(
    {
        **{"_target_": None, "name": "none", "shape": [1, 8, 8], "num_classes": 10},
        **{"mean": [0.3], "std": [0.4], "classes": None, "validation": 0.0, "epochs": 1},
    }
)


def described(target: str, /, **values: Any) -> ModelConfig:
    """The section of a network, as from `model._target_=... model.key=...`."""
    keys = {"name": target, "checkpoint": None, "batch_norm": None, "attention": None}
    return ModelConfig.model_validate({**keys, **values, "_target_": target})


def build(target: str, /, **values: Any) -> nn.Module:
    """A network of this file."""
    section = described(f"{__name__}.{target}", **{"name": target, **values})
    return builder(section, DATASET)(0)


class Net(nn.Module):
    """Maps 1 x 8 x 8 to ten logits."""

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.out = nn.Linear(36 * width, 10)

    def forward(self, images: Tensor) -> Any:
        return self.out(torch.relu(self.conv(images)).flatten(1))


class Lazy(Net):
    """Finds its sizes at the first batch, dropout and all."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.LazyBatchNorm2d(), nn.Dropout(0.5)
        self.out = nn.LazyLinear(10)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.conv(images))
        return self.out(self.drop(maps).flatten(1))


def test_lazy_layers_have_found_their_sizes() -> None:
    network = build("Lazy")
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes["out.weight"] == (10, 72)
    assert network.training
    assert all(module.training for module in network.modules())
    again = build("Lazy")
    assert torch.equal(network.get_parameter("out.weight"), again.get_parameter("out.weight"))


Named = namedtuple("Named", ["aux", "logits"])


@dataclass
class Fields:
    """An output with attributes."""

    features: Tensor
    logits: Tensor


LOGITS, FEATURES = torch.ones(2, 10), torch.zeros(2, 5)
OUTPUTS: dict[str, Any] = {
    "tensor": LOGITS,
    "tuple": (LOGITS, LOGITS + 1),
    "features first": (FEATURES, LOGITS),
    "list": [LOGITS, FEATURES],
    "dictionary": {"features": FEATURES, "out": LOGITS},
    "logits of a dictionary": {"aux": LOGITS + 1, "logits": LOGITS},
    "mapping": OrderedDict(aux=LOGITS + 1, logits=LOGITS),
    "named tuple": Named(LOGITS + 1, LOGITS),
    "data class": Fields(FEATURES, LOGITS),
    "nested": ({"features": FEATURES}, [None, LOGITS]),
}


class Returns(nn.Module):
    """Returns what it was given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> Any:
        return self.output


@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_are_taken_out_of_what_a_network_returns(kind: str) -> None:
    network = Returns(OUTPUTS[kind])
    return_logits(network, 10)
    assert torch.equal(network(torch.zeros(2)), LOGITS)
    assert torch.equal(copy_network(network)(torch.zeros(2)), LOGITS)


class Auxiliary(Net):
    """Has a second output while it trains."""

    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return (logits, logits + 1) if self.training else logits


def test_auxiliary_outputs() -> None:
    network, images = build("Auxiliary"), torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network.train()(images), network.eval()(images))
    assert network.state_dict().keys() == Net().state_dict().keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda net: weight_norm(net.conv),
        lambda net: spectral_norm(net.conv),
        lambda net: prune.l1_unstructured(net.conv, "weight", 0.5),
        lambda net: setattr(net, "seen", {"last": [net.conv.weight * 2]}),
    ],
    ids=["weight norm", "spectral norm", "pruned", "keeps activations"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_copies_of_networks_that_keep_computed_tensors(change: Callable[[Net], Any]) -> None:
    network, images = Net(), torch.randn(2, 1, 8, 8)
    change(network)
    network.eval()(images).sum().backward()  # with gradients: what is kept has a history
    copied = copy_network(network)
    assert torch.equal(copied(images), network(images))
    assert copied.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(2)
    assert not torch.allclose(copied(images), network(images))


class Locked(Net):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class OddState(Net):
    """Keeps an object of its own class in its state dict."""

    def get_extra_state(self) -> Any:
        return DATASET

    def set_extra_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize(("target", "words"), [("Locked", "copied"), ("OddState", "_extra_state")])
def test_networks_that_cannot_be_copied_or_saved_are_refused(target: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build(target)
    assert caught.value.key == "model._target_"


class Takes(Net):
    """Takes what the program reads of a network's section as well."""

    def __init__(
        self,
        name: str = "small",
        batch_norm: bool = False,
        attention: Any = None,
        widths: Any = None,
        norm: Any = None,
        check: str = "none",
    ) -> None:
        super().__init__()
        self.given = (name, batch_norm, attention, widths, norm, check)


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ({}, ("small", False, None, None, None, "none")),
        ({"name": "custom"}, ("small", False, None, None, None, "none")),
        ({"name": "large"}, ("large", False, None, None, None, "none")),
        ({"batch_norm": True}, ("small", True, None, None, None, "none")),
        ({"attention": ["conv"]}, ("small", False, ["conv"], None, None, "none")),
        ({"check": "warn"}, ("small", False, None, None, None, "none")),
        ({"check": "off"}, ("small", False, None, None, None, "off")),
        ({"widths": [8, [1, 2]]}, ("small", False, None, [8, [1, 2]], None, "none")),
        (
            {"norm": {"kind": {"eps": 1}}},
            ("small", False, None, None, {"kind": {"eps": 1}}, "none"),
        ),
    ],
)
def test_arguments_reach_the_network_as_plain_values(values: Any, given: Any) -> None:
    found = build("Takes", **values).given
    assert found == given
    assert [type(value) for value in found] == [type(value) for value in given]


def test_arguments_that_it_does_not_take_are_not_passed_on() -> None:
    build("Net", name="large", batch_norm=True, attention=["conv"], width=3)
    with pytest.raises(ConfigError, match=r"model\.depth=3: no such key"):
        build("Net", depth=3)


class Filled(Net):
    """Loads weights itself."""

    def __init__(self, checkpoint: str | None = None) -> None:
        super().__init__()
        if checkpoint == "fills":
            for parameter in self.parameters():
                nn.init.ones_(parameter)


def test_network_that_loads_its_checkpoint_itself() -> None:
    """Its fresh networks would be the teacher."""
    build("Filled", checkpoint="ignored")
    with pytest.raises(ConfigError, match=r"model\.checkpoint=fills"):
        build("Filled", checkpoint="fills")


class NineLogits(Net):
    """Returns a logit too few."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :9]


class Refusing(Net):
    """Refuses its input without a message, as a bare `assert` does."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError


class Wordy(Net):
    """Refuses its input in two lines."""

    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("first line\nsecond line")


class NeedsArgument(Net):
    """Cannot be built without an argument."""

    def __init__(self, depth: int) -> None:
        super().__init__()


def test_convolutions_of_a_network_are_found() -> None:
    assert attention_layers(described("any.Net"), build("Net"), DATASET.shape) == ("conv",)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"{__name__}.NineLogits", "must return 10 logits an image, one a class; it returned [9]"),
        ("torch.nn.Flatten", "must return 10 logits an image"),
        (f"{__name__}.Refusing", "cannot take images of shape [1, 8, 8] (AssertionError)"),
        (f"{__name__}.Wordy", "cannot take images of shape [1, 8, 8] (first line)"),
        (f"{__name__}.NeedsArgument", "depth"),
        (f"{__name__}.Absent", "Absent"),
        ("no_such_package.Net", "no_such_package"),
        ("pathlib.Path", "must build a torch.nn.Module"),
    ],
)
def test_networks_that_do_not_fit_are_refused(target: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        builder(described(target), DATASET)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"model._target_={target}: ")
    assert words in str(caught.value)
