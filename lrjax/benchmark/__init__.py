"""How fast training, forward passes and identification are, beside PyTorch and faiss."""
