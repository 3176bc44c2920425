"""Attacks, one module a method, and what they share: the uint8 lattice, query counting."""
