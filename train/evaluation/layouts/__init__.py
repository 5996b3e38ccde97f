"""How labelled footage lies on disk, one module per layout."""
