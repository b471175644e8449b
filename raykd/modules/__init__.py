"""Learnable parts that several papers share."""
