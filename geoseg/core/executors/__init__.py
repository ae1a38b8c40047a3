"""Executors run tasks: in this thread, in processes of this machine, on the workers of a cluster. Know no scene."""
