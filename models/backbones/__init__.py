"""Networks up to the feature map, by name."""
