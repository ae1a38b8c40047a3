"""Few and weak labels: which tiles are labelled, what is trained on them, and the table of the scores."""
