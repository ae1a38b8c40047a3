"""What a network sees besides its window."""
