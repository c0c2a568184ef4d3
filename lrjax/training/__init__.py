"""The engine: states, streams, parallelism, checkpoints, the loop. It knows no face."""
