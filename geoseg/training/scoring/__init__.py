"""Validation: the windows in which a model is scored, their batches, scores and examples."""
