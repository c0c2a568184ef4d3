"""TFDS builders, one package per dataset; none needs TensorFlow."""
