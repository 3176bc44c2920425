"""How the density models of `models.density` are trained."""
