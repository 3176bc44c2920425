"""The configuration: validation against the schema and the grid of artifacts it asks for."""
