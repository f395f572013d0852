"""The typed schema of a run: every key, its type and its range. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
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
# One class may stand alone, as in a sweep's forget=0,1,2.
_Alone = BeforeValidator(lambda typed: [typed] if type(typed) is int else typed)
_Count = Annotated[int, Field(strict=True, ge=0)]  # true is no number here
_Classes = Annotated[tuple[_Count, ...], _Alone]
# Keys that say where and how loudly a run happens; all others determine its figures.
_NOT_HASHED = {
    "outputs",
    "run_dir",
    "force",
    "launch",
    "objective",
    "tracking",
    "checkpoint_every",
}
_DATASET_NOT_HASHED = {"memory", "list_classes"}
# Parts whose import path has changed, and the path that hashes were first computed with: a moved
# file must not change the hash of a run.
_FIRST_PATHS = {
    "unlearn.synthesis.sources.Real": "unlearn.sources.real.Real",
    "unlearn.synthesis.sources.Inverted": "unlearn.sources.inverted.Inverted",
    "unlearn.evaluation.accuracy.AccuracyAudit": "unlearn.audits.accuracy.Accuracy",
    "unlearn.evaluation.cka.Alignment": "unlearn.audits.cka.Alignment",
    "unlearn.evaluation.divergence.DivergenceAudit": "unlearn.audits.divergence.Divergence",
    "unlearn.evaluation.inversion.InversionAudit": "unlearn.audits.inversion.Inversion",
    "unlearn.evaluation.membership.LikelihoodRatio": "unlearn.audits.lira.LikelihoodRatio",
    "unlearn.evaluation.membership.NeighbourMembership": (
        "unlearn.audits.mia_nn.NeighbourMembership"
    ),
    "unlearn.evaluation.probe.BlockProbe": "unlearn.audits.probe.BlockProbe",
    "unlearn.evaluation.recovery.Recovery": "unlearn.audits.recovery.Recovery",
    "unlearn.evaluation.relearn.RelearnCurves": "unlearn.audits.relearn.RelearnCurves",
}


# Of what takes the keys that it lists and no others: a section here, a metric, an audit.
CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class _Closed(BaseModel):
    """A section whose keys are all listed here."""

    model_config = CLOSED


class _Open(BaseModel):
    """A section built by `_target_`: other keys are passed on and checked by what they build."""

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

    name: str
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
    name: str
    checkpoint: str | None
    batch_norm: bool | None
    attention: tuple[str, ...] | None


class SourceConfig(_Open):
    """Where a method's labelled images come from, and the words that sources share."""

    factory: str = Field(alias="_target_")
    most: PositiveInt | None = None
    images: PositiveInt = 1
    steps: PositiveInt = 1
    learning_rate: PositiveFloat = 1
    batch_norm_weight: NonNegativeFloat = 0
    tv_weight: NonNegativeFloat = 0


class MethodConfig(_Open):
    """A method and the words that methods share; each uses the ones in its YAML."""

    factory: str = Field(alias="_target_")
    name: str
    as_published: bool = False
    source: SourceConfig | None = None
    iterations: PositiveInt = 1
    batch_size: PositiveInt = 1
    forget_batch_size: PositiveInt = 1
    epochs: PositiveInt = 1
    student_steps: PositiveInt = 1
    fresh_noise: bool = False
    generator_steps: NonNegativeInt = 1
    latent: PositiveInt = 1
    generator_width: Annotated[int, Field(ge=2, multiple_of=2)] = 2
    learning_rate: PositiveFloat = 1
    generator_learning_rate: PositiveFloat = 1
    clip: PositiveFloat = 1
    attention_weight: NonNegativeFloat = 0
    temperature: PositiveFloat = 1
    target: Literal["raw", "masked", "postfilter"] = "raw"
    postfilter_threshold: Share = 0
    gate: Share | None = None
    start: Share = 0
    fresh_readout: bool = False
    depth: NonNegativeFloat = 0
    batch_norm: Literal["train", "frozen", "published"] = "train"
    schedule: Literal["cosine", "published"] = "cosine"
    selection: Literal["last", "oracle"] = "last"
    noises: PositiveInt = 1
    noise_steps: PositiveInt = 1
    noise_learning_rate: PositiveFloat = 1
    maximised: Share = 1
    regularisation: NonNegativeFloat = 0
    patience: PositiveInt = 1
    valid: bool = False
    impair: bool = True
    copies: PositiveInt = 1
    images: PositiveInt = 1
    pool: NonNegativeInt = 0
    inverted_share: Share = 0
    inversion_steps: PositiveInt = 1
    inversion_batch: PositiveInt = 1
    inversion_learning_rate: PositiveFloat = 1
    warmup: NonNegativeInt = 0
    batch_norm_weight: NonNegativeFloat = 0
    batch_norm_prior: NonNegativeFloat = 0
    first_layer_factor: NonNegativeFloat = 1
    tv_weight: NonNegativeFloat = 0
    bias: float = 0
    l2_weight: NonNegativeFloat = 0
    jitter: NonNegativeInt = 0
    flip: bool = False
    inverted: Literal["all", "retain"] = "all"
    kept: Literal["answered", "all"] = "answered"
    repair_epochs: NonNegativeInt = 0
    repair_learning_rate: PositiveFloat = 1
    maximise_epochs: NonNegativeInt = 0
    class_weight: NonNegativeFloat = 1
    distillation_weight: NonNegativeFloat = 0
    selection_weight: NonNegativeFloat = 1
    dampening: NonNegativeFloat = 1
    salient: Share = 1
    retain_scale: PositiveFloat = 1
    forget_scale: PositiveFloat = 1
    labels: Literal["soft", "hard"] = "soft"
    bound: Share = 0
    sigma: PositiveFloat = 1
    layer: str | None = None
    embeddings: PositiveInt = 1
    inhibited: bool = False
    weight_decay: NonNegativeFloat = 0
    confidence_weight: NonNegativeFloat = 0
    balance_weight: NonNegativeFloat = 0

    @property
    def arguments(self) -> dict[str, Any]:
        values = self.model_dump(exclude_unset=True, by_alias=True)
        return {key: value for key, value in values.items() if key not in ("_target_", "name")}


class FilterConfig(_Open):
    """The row weights on generated samples."""

    factory: str = Field(alias="_target_")
    gate: Share | None = None
    entropy: PositiveFloat | None = None
    entropy_definition: Literal["all", "retain", "normalised", "quantile"] = "all"

    @classmethod
    def passed_on(cls) -> frozenset[str]:
        return frozenset({"gate", "entropy", "entropy_definition"})


class TrainingConfig(_Closed):
    """Supervised training of the teacher and of the retrained reference."""

    seed: NonNegativeInt
    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["adamw", "sgd"]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat


class HardwareConfig(_Closed):
    """Where and how tensors are computed."""

    device: Literal["auto", "cpu", "cuda"]
    autocast: Literal["bfloat16"] | None
    channels_last: bool
    compile: bool | Literal["reduce-overhead", "max-autotune"]
    threads: PositiveInt | None
    deterministic: bool


class EvaluationConfig(_Closed):
    """How often the student is looked at, and what is measured at the end."""

    every: PositiveInt | None
    pictures: bool | None = None
    references: NonNegativeInt = 0
    metrics: dict[str, dict[str, Any]]
    audit_rows: PositiveInt = 1000
    audits: dict[str, dict[str, Any]] = {}


class TrackingConfig(_Closed):
    """Who listens to a run."""

    mode: Literal["offline", "online", "disabled"]
    # As W&B names projects.
    project: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\#?%:]+$")]
    group: str | None
    tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...]
    observers: dict[str, dict[str, Any]]


class RunConfig(_Closed):
    """One run, complete and checked."""

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
    run_dir: Annotated[str, Field(min_length=1)] | None
    force: bool
    checkpoint_every: NonNegativeFloat | None
    launch: Literal["run", "plan"]
    objective: str | None
    allow_oracle: bool

    def plain(self) -> dict[str, Any]:
        """The config as plain values under the keys that the user typed."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @property
    def retain(self) -> tuple[int, ...]:
        """The classes that are kept."""
        return retain_classes(self.dataset.num_classes, self.forget)


def retain_classes(num_classes: int, forget: tuple[int, ...]) -> tuple[int, ...]:
    """The classes from 0 to `num_classes` - 1 that are not forget classes, in order."""
    return tuple(c for c in range(num_classes) if c not in forget)


def config_hash(config: RunConfig, checkpoint_digest: str | None) -> str:
    """Sixteen hex digits that name what determines a run's figures.

    Args:
        config: the run.
        checkpoint_digest: of the user's checkpoint, which stands in for its path.
    """
    values = {k: v for k, v in config.plain().items() if k not in _NOT_HASHED}
    values["model"]["checkpoint"] = checkpoint_digest
    values["dataset"] = select_determinants(values["dataset"])
    values["evaluation"].pop("pictures", None)  # pictures decide no figure
    return digest(_with_first_paths(values))


def select_determinants(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a data set that decide a run's figures."""
    return {key: value for key, value in dataset.items() if key not in _DATASET_NOT_HASHED}


def _with_first_paths(values: Any) -> Any:
    """The same values with every `_target_` under its first import path."""
    if isinstance(values, dict):
        return {key: _with_first_paths(value) for key, value in values.items()}
    return _FIRST_PATHS.get(values, values) if isinstance(values, str) else values


def digest(values: Any) -> str:
    """Sixteen hex digits of any JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
