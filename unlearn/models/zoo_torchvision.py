"""Networks of torchvision by name."""

import difflib
from typing import Any

import torchvision
from torch import nn

from unlearn.errors import ConfigError
from unlearn.models.zoo import shorten_names


def build_network(
    architecture: str,
    num_classes: int,
    image_size: int,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a classifier of torchvision.

    Args:
        architecture: A name of `torchvision.models.list_models(module=torchvision.models)`.
        num_classes: Number of logits.
        image_size: Height and width of an image; passed on to networks of one size alone (ViT).
        pretrained: Whether to load torchvision's own weights.
        options: Further arguments of the network.

    Raises:
        ConfigError: If torchvision has no such network.
    """
    _check_name(architecture)
    if architecture.lower().startswith("vit"):
        options.setdefault("image_size", image_size)
    weights = "DEFAULT" if pretrained else None
    network: nn.Module = torchvision.models.get_model(
        architecture, weights=weights, num_classes=num_classes, **options
    )
    return network


def describe(architecture: str, **_: Any) -> dict[str, Any]:
    """Return what torchvision knows of the images that its weights were trained on.

    Returns:
        The keys of the config's section `dataset`: shape, num_classes, mean, std and classes.
    """
    _check_name(architecture)
    weights = torchvision.models.get_model_weights(architecture).DEFAULT
    transforms, classes = weights.transforms(), weights.meta["categories"]
    size = transforms.crop_size[0]
    return {
        "shape": [3, size, size],
        "num_classes": len(classes),
        "mean": list(transforms.mean),
        "std": list(transforms.std),
        "classes": shorten_names(list(classes)),
    }


def _check_name(architecture: str) -> None:
    known = torchvision.models.list_models(module=torchvision.models)
    if architecture.lower() not in known:
        near = difflib.get_close_matches(architecture, known, 5, cutoff=0.3)
        detail = f"torchvision has no such network; near ones are {', '.join(near)}"
        raise ConfigError("model.architecture", architecture, detail)
