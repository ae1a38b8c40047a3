"""Land cover drawn as an aerial camera sees it, for `quarries.py`."""
