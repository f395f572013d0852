"""Unlearning methods: one file a method, each built by the `_target_` of its YAML."""
