"""Train and pair CSVs, packs, and the paths in them."""
