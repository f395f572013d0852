"""Networks of timm (Wightman, PyTorch Image Models) by name."""

import difflib
import json
from pathlib import Path
from typing import Any

from torch import nn

from unlearn.errors import ConfigError
from unlearn.models.zoo import import_zoo, shorten_names


def build_network(
    architecture: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a network of timm.

    Args:
        architecture: A name of `timm.list_models()`, or `hf-hub:NAME`, or `local-dir:FOLDER`.
        in_channels: Number of channels of an image.
        num_classes: Number of logits.
        image_size: Height and width of an image; passed on to networks of one size alone (ViT).
        pretrained: Whether to load timm's own weights.
        options: Further arguments of `timm.create_model`.

    Raises:
        ConfigError: If timm is not installed or has no such network.
    """
    timm = import_zoo("timm", "timm")
    config = _find_config(timm, architecture)
    if config.fixed_input_size and image_size != config.input_size[1]:
        options.setdefault("img_size", image_size)
    network: nn.Module = timm.create_model(
        architecture,
        pretrained=pretrained,
        in_chans=in_channels,
        num_classes=num_classes,
        **options,
    )
    return network


def describe(architecture: str, **_: Any) -> dict[str, Any]:
    """Return what timm knows of the images that its weights were trained on.

    Returns:
        The keys of the config's section `dataset`: shape, num_classes, mean, std and classes.
    """
    timm = import_zoo("timm", "timm")
    config = _find_config(timm, architecture)
    return {
        "shape": list(config.input_size),
        "num_classes": config.num_classes,
        "mean": list(config.mean),
        "std": list(config.std),
        "classes": _name_classes(timm, config),
    }


def _find_config(timm: Any, architecture: str) -> Any:
    """Return timm's description of a network's weights.

    Raises:
        ConfigError: If timm has no such network.
    """
    source, colon, name = architecture.rpartition(":")
    try:
        if source == "local-dir":
            file = Path(name).expanduser() / "config.json"
            return timm.models.PretrainedCfg(**_read_config(json.loads(file.read_text())))
        if colon:
            return timm.models.PretrainedCfg(**timm.models.load_model_config_from_hf(name)[0])
    except (OSError, ValueError) as error:
        detail = f"its config.json cannot be read ({error})"
        raise ConfigError("model.architecture", architecture, detail) from error
    if not timm.is_model(architecture.split(".")[0]):
        family = architecture.split("_")[0].split(".")[0]
        near = difflib.get_close_matches(architecture, timm.list_models(), 5, cutoff=0.5)
        near = near or timm.list_models(f"*{family}*")[:5]
        detail = f"timm {timm.__version__} has no such network; near ones are {', '.join(near)}"
        raise ConfigError("model.architecture", architecture, detail)
    return timm.get_pretrained_cfg(architecture)


def _read_config(content: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the weights in the `config.json` of a timm folder."""
    found = dict(content.get("pretrained_cfg", content))
    found.update({key: content[key] for key in ("num_classes", "label_names") if key in content})
    return found


def _name_classes(timm: Any, config: Any) -> list[str] | None:
    """Return the names of the classes, None where timm has none."""
    if config.label_names:
        return shorten_names(list(config.label_names))
    subset = timm.data.infer_imagenet_subset(config.to_dict())
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return shorten_names([info.index_to_description(index) for index in range(config.num_classes)])
