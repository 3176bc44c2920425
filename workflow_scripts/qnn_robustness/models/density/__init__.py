"""Density models of images: what is likely to be one, and how likely. Needs no TensorFlow but to be trained."""
