"""Row weights in [0, 1] on generated samples: pure functions of the teacher's logits."""
