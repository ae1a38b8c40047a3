"""Who does the tasks of a run: this process, others on this machine, the workers of a cluster. Knows no scene."""
