"""Prefix codes of weights and of models: what the bits are counted by."""
