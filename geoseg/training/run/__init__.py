"""A run from its settings to its results: built, trained, recorded, resumed, reported."""
