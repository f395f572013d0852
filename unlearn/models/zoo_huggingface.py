"""Image classifiers of Hugging Face's transformers, from a folder or by the name on the hub."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unlearn.errors import ConfigError, first_line
from unlearn.models.checkpoint import CheckpointFormat, fill_folder, write_bytes
from unlearn.models.copies import copy_network
from unlearn.models.zoo import import_zoo


def build_network(
    path: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    **options: Any,
) -> nn.Module:
    """Build `AutoModelForImageClassification` of a configuration, with random weights.

    Args:
        path: A folder that holds `config.json`, or a name on the hub.
        in_channels: Number of channels of an image.
        num_classes: Number of logits.
        image_size: Height and width of an image; passed on to networks of one size alone (ViT).
        options: Further keys of the configuration.

    Raises:
        ConfigError: If transformers is not installed, or there is no such configuration.
    """
    transformers = import_zoo("transformers", "huggingface")
    config = _read_config(transformers, path)
    if config.num_labels != num_classes:
        config.num_labels = num_classes
    for key, value in {"num_channels": in_channels, "image_size": image_size, **options}.items():
        if hasattr(config, key):
            setattr(config, key, value)
        elif key in options:
            raise ConfigError(f"model.{key}", value, f"no key of {type(config).__name__}")
    network: nn.Module = transformers.AutoModelForImageClassification.from_config(config)
    return network.float()  # whatever the type of the weights in the files


def describe(path: str, **_: Any) -> dict[str, Any]:
    """Return what a folder says of the images that its network was trained on.

    Returns:
        The keys of the config's section `dataset` that its files hold: num_classes and classes of
        `config.json`; shape, mean and std of `preprocessor_config.json`.
    """
    transformers = import_zoo("transformers", "huggingface")
    config = _read_config(transformers, path)
    labels = [config.id2label[index] for index in sorted(config.id2label)]
    found: dict[str, Any] = {"num_classes": config.num_labels, "classes": labels}
    try:
        images, _ = transformers.ImageProcessingMixin.get_image_processor_dict(path)
    except OSError:  # there is no such file: the user has to say it
        images = {}
    size = _read_size(images, config)
    if size is not None:
        found["shape"] = [getattr(config, "num_channels", 3), *size]
    if images.get("do_normalize") is False:
        images = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
    for key, given in (("mean", "image_mean"), ("std", "image_std")):
        if images.get(given) is not None:
            found[key] = list(images[given])
    return found


def load_weights(network: nn.Module, path: str) -> CheckpointFormat:
    """Load the weights of a folder, or of a name on the hub, as transformers itself does.

    The names in the files may differ from those in the network: transformers translates them.

    Args:
        network: Built by `build_network`; filled in place.
        path: A folder that holds `config.json` and the weights, or a name on the hub.

    Raises:
        ConfigError: If the weights cannot be loaded, or the network has weights that they lack.
    """
    transformers = import_zoo("transformers", "huggingface")
    transformers.utils.logging.disable_progress_bar()
    place = str(Path(path).expanduser()) if Path(path).expanduser().exists() else path
    try:
        given, found = transformers.AutoModelForImageClassification.from_pretrained(
            place,
            config=copy.deepcopy(network.config),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # of the network, the rights, the files
        detail = f"cannot be read ({first_line(error)})"
        raise ConfigError("model.checkpoint", path, detail) from error
    for word, key in (("lacks", "missing_keys"), ("has other shapes of", "mismatched_keys")):
        names = sorted(str(name) for name in found[key])
        if names:
            detail = f"does not fit {type(network).__name__}: {word} {', '.join(names[:3])}"
            raise ConfigError("model.checkpoint", path, detail)
    for name, value in given.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ConfigError("model.checkpoint", path, f"{name} holds NaN or infinite values")
    network.load_state_dict(given.state_dict())
    dtype = _read_config(transformers, path).dtype
    folder = Path(place)
    companions = tuple(folder.glob("preprocessor_config.json")) if folder.is_dir() else ()
    return HuggingFaceFormat(companions=companions, dtype=dtype or torch.float32)


@dataclass(frozen=True)
class HuggingFaceFormat(CheckpointFormat):
    """A folder that transformers loads, and its weights alone beside it.

    Args:
        dtype: Type of the weights in the files.
    """

    dtype: torch.dtype = torch.float32

    def save(self, network: nn.Module, path: Path) -> None:
        """Write the weights to `path`, and a folder that is named as it without its suffix."""
        folder = path.with_suffix("")
        saved: Any = copy_network(network).cpu().to(self.dtype)
        saved.save_pretrained(folder, max_shard_size="1TB")
        content = (folder / "model.safetensors").read_bytes()
        write_bytes(path, content)
        fill_folder(path, "model.safetensors", self.companions)


def _read_config(transformers: Any, path: str) -> Any:
    folder = Path(path).expanduser()
    try:
        return transformers.AutoConfig.from_pretrained(str(folder) if folder.exists() else path)
    except (OSError, ValueError, KeyError) as error:
        detail = f"holds no configuration that transformers can read ({first_line(error)})"
        raise ConfigError("model.path", path, detail) from error


def _read_size(images: dict[str, Any], config: Any) -> list[int] | None:
    """Return height and width of an image."""
    for size in (images.get("crop_size"), images.get("size"), getattr(config, "image_size", None)):
        if isinstance(size, int):
            return [size, size]
        if isinstance(size, dict) and "height" in size:
            return [size["height"], size["width"]]
        if isinstance(size, dict) and "shortest_edge" in size:
            return [size["shortest_edge"]] * 2
        if isinstance(size, list | tuple) and len(size) == 2:
            return list(size)
    return None
