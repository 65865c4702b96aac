"""Where the rows of a gallery are kept: the promises, and who keeps them."""
