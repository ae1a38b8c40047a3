"""Places: windows of pixels, coordinate systems, areas and lengths on the earth, vector files as people have them."""
