"""Pictures of the figures."""
