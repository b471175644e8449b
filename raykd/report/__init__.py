"""Stored results as tables, as one HTML page, and on the command line; no torch, no ray."""
