"""Labels as people have them."""
