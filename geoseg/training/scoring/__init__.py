"""Validation: the windows in which a model is scored, their batches, scores and examples.

What a network sees besides scored windows is a class in `scored_views.py`, with a line in its `SCORED_VIEWS`.
"""
