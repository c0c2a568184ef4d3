"""How fast a training step is, and how fast PyTorch would be at the same. It knows no command."""
