"""Whether context and refinement improve a trained network on imagery, against controls of equal compute."""
