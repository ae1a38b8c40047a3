"""The commands as functions, from end to end."""
