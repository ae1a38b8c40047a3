"""Convolutions that also do what comes before and behind them: the same logits, fewer passes over memory, on CPUs."""
