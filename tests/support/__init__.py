"""What test modules share that is no fixture."""
