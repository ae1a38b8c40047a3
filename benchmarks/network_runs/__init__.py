"""Every network at one small, equal budget: what `python benchmarks/networks.py` trains, times and draws."""
