"""What is written besides polygons, and how it looks."""
