"""The typed schema of a run: every key, its type and its range. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
)

Share = Annotated[float, Field(ge=0, le=1)]
# A single class needs no list, as in a sweep's forget=0,1,2.
_Alone = BeforeValidator(lambda typed: [typed] if type(typed) is int else typed)
_Count = Annotated[int, Field(strict=True, ge=0)]  # refuses true
_Classes = Annotated[tuple[_Count, ...], _Alone]


def _check_name(name: str) -> str:
    """Refuse what cannot be a folder below another: a run's folder is made of such names."""
    if not all(part.strip(".") for part in name.split("/")) or set(name) & set("\0\n"):
        raise ValueError("must name a folder: not empty, absolute or with ..")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
# Settings of single methods and sources that are floats. Hashes of runs were first computed from
# floats under these names, so that `method.depth=1` has the hash of `method.depth=1.0`.
# fmt: off
_FLOATS = {
    "attention_weight", "balance_weight", "batch_norm_prior", "batch_norm_weight", "bias",
    "bound", "class_weight", "confidence_weight", "dampening", "depth", "distillation_weight",
    "first_layer_factor", "forget_scale", "gate", "generator_learning_rate",
    "inversion_learning_rate", "inverted_share", "l2_weight", "learning_rate", "maximised",
    "noise_learning_rate", "postfilter_threshold", "regularisation", "repair_learning_rate",
    "retain_scale", "salient", "selection_weight", "sigma", "tv_weight", "weight_decay",
}
# fmt: on
# For classes that refuse keys which they do not list: sections, methods, metrics, audits.
CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, arbitrary_types_allowed=True)


class _Closed(BaseModel):
    """A section that refuses keys which it does not list."""

    model_config = CLOSED


class _Open(BaseModel):
    """A section with a `_target_`: its other keys are arguments, which the target checks."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    factory: str | None = Field(alias="_target_")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for `_target_`."""
        own = set(type(self).model_fields) - self.passed_on()
        return {k: v for k, v in self.model_dump(exclude_unset=True).items() if k not in own}

    @classmethod
    def passed_on(cls) -> frozenset[str]:
        """Listed keys that are arguments of `_target_` as well."""
        return frozenset()


class DatasetConfig(_Open):
    """A data set: what its images are, and the function that loads them."""

    name: Name
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    num_classes: Annotated[int, Field(ge=2)]
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]
    classes: tuple[str, ...] | None
    validation: Annotated[float, Field(ge=0, lt=1)]
    epochs: PositiveInt
    root: str | None = None
    download: bool = False
    memory: NonNegativeFloat = 4
    list_classes: str | None = None
    _found_names: tuple[str, ...] | None = PrivateAttr(None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; their indices if the names are not known."""
        found = self.classes or self._found_names
        return found or tuple(map(str, range(self.num_classes)))

    def with_names(self, names: tuple[str, ...] | None) -> DatasetConfig:
        """Return this data set with the names that its files give to its classes.

        They are no part of the config as it was typed, and so of no hash.
        """
        named = self.model_copy()
        named._found_names = names
        return named

    @classmethod
    def passed_on(cls) -> frozenset[str]:
        return frozenset({"root", "download"})


class ModelConfig(_Open):
    """A network: its class and arguments, and the user's checkpoint if there is one."""

    factory: str = Field(alias="_target_")
    name: Name
    checkpoint: str | None
    batch_norm: bool | None
    attention: tuple[str, ...] | None
    check: Annotated[
        Literal["error", "warn", "off"], BeforeValidator(lambda v: "off" if v is False else v)
    ] = "warn"


def _as_floats(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, with whole numbers as floats under the names in `_FLOATS`."""
    found = values.copy()
    for key, value in values.items():
        if isinstance(value, dict):
            found[key] = _as_floats(value)
        elif key in _FLOATS and type(value) is int:
            found[key] = float(value)
    return found


class SourceConfig(_Open):
    """The source of a method's labelled images; its class checks its settings."""

    factory: str = Field(alias="_target_")


class MethodConfig(_Open):
    """A method, and the settings that several methods share; None where a method has none.

    The method's class checks all its settings. Those that only one method has stand there alone.
    """

    factory: str = Field(alias="_target_")
    name: Name
    as_published: bool = False
    source: SourceConfig | None = None
    iterations: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    epochs: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    clip: PositiveFloat | None = None
    temperature: PositiveFloat | None = None
    target: Literal["raw", "masked", "postfilter"] | None = None
    start: Share | None = None
    fresh_readout: bool | None = None
    batch_norm: Literal["train", "frozen", "published"] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings that the method's class takes."""
        values = self.model_dump(exclude_unset=True, by_alias=True)
        own = ("_target_", "name", "as_published")
        return {key: value for key, value in values.items() if key not in own}


class FilterConfig(_Open):
    """The row weights on generated samples."""

    factory: str = Field(alias="_target_")
    gate: Share | None = None
    entropy: PositiveFloat | None = None
    entropy_definition: Literal["all", "retain", "normalised", "quantile"] = "all"

    @classmethod
    def passed_on(cls) -> frozenset[str]:
        return frozenset({"gate", "entropy", "entropy_definition"})


class AugmentConfig(_Closed):
    """Random changes of training images."""

    crop: NonNegativeInt = 0
    flip: bool = False


class TrainingConfig(_Closed):
    """Supervised training of the teacher and of the retrained reference."""

    seed: NonNegativeInt
    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["adamw", "sgd", "muon"]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    augment: AugmentConfig = AugmentConfig()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0


class HardwareConfig(_Closed):
    """Where and how tensors are computed."""

    device: Literal["auto", "cpu", "cuda"]
    autocast: Literal["bfloat16", "auto"] | None
    channels_last: bool | Literal["auto"]
    compile: bool | Literal["reduce-overhead", "max-autotune"]
    threads: PositiveInt | None
    deterministic: bool


class EvaluationConfig(_Closed):
    """How often the student is measured, and what is measured at the end."""

    every: PositiveInt | None
    pictures: bool | None = None
    references: NonNegativeInt = 0
    metrics: dict[str, dict[str, Any]]
    audit_rows: PositiveInt = 1000
    audits: dict[str, dict[str, Any]] = {}


class TrackingConfig(_Closed):
    """Observers of a run."""

    mode: Literal["offline", "online", "disabled"]
    project: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\#?%:]+$")]
    group: str | None
    tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...]
    observers: dict[str, dict[str, Any]]


class RunConfig(_Closed):
    """The checked config of one run."""

    forget: _Classes
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**31)]
    dataset: DatasetConfig
    model: ModelConfig
    training: TrainingConfig
    method: MethodConfig
    filter: FilterConfig
    hardware: HardwareConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    outputs: Annotated[str, Field(min_length=1)]
    networks: str | None = None
    run_dir: Annotated[str, Field(min_length=1)] | None
    force: bool
    checkpoint_every: NonNegativeFloat | None
    design: Literal["grid", "cover"] = "grid"
    launch: Literal["run", "plan"]
    objective: str | None
    allow_oracle: bool

    def plain(self) -> dict[str, Any]:
        """Return the config as plain values, under the keys of the YAML files."""
        values = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return values | {"method": _as_floats(values["method"])}

    @property
    def retain(self) -> tuple[int, ...]:
        """The classes that are kept."""
        return retain_classes(self.dataset.num_classes, self.forget)


def retain_classes(num_classes: int, forget: tuple[int, ...]) -> tuple[int, ...]:
    """The classes from 0 to `num_classes` - 1 that are not forget classes, in order."""
    return tuple(c for c in range(num_classes) if c not in forget)
