"""Rebuilds stored students, evaluates them, and writes them to a folder with a model card."""
