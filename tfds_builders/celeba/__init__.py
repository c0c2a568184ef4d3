"""CelebA: aligned pictures of celebrities with their identities."""
