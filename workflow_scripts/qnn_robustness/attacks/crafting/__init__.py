"""How attacks are run: random streams, query counting, the uint8 lattice, the crafting loop."""
