"""Places to label next: equal windows of scenes, what a model finds in them, and a choice of them. Writes nothing."""
