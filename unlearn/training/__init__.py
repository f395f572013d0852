"""What methods train with: losses, loops, the student, the adversarial generator."""
