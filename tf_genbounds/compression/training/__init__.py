"""Callbacks that train for a short code."""
