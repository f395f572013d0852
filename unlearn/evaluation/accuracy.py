"""D_r and D_f: accuracy on retain and forget classes, on train and test."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.evaluation.base import Figures, Models, Setting, accuracy, each_model


@dataclass(frozen=True)
class Accuracy:
    """Accuracy in percent, weighted by sample: {model: {train|test: {retain, forget}}}."""

    needs_data: bool = True

    def __call__(self, models: Models, setting: Setting) -> Figures:
        """Measure all models; see `Metric`."""
        data, request = setting.data, setting.request
        assert data is not None
        splits = {"train": data.train, "test": data.test}
        return each_model(
            models,
            lambda network: {
                name: accuracy(network, split, request.forget, request.hardware)
                for name, split in splits.items()
            },
            [self],
            setting.shelf,
        )
