"""Zero-shot machine unlearning of image classifiers."""

__version__ = "0.2.0"
