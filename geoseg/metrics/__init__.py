"""How good predicted classes are."""
