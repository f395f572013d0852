"""What is measured of original, retrained and unlearned model: one file a metric."""
