"""Pages that this machine serves to its own browser."""
