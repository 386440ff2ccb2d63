"""Architectures and losses."""
