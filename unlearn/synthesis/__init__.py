"""What makes images without data: generator, noise, inversion."""
