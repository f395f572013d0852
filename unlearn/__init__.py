"""Zero-shot machine unlearning of image classifiers."""

__version__ = "0.1.0"
