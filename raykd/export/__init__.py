"""Students that leave the store: rebuilt, evaluated, written to a folder with a model card."""
