"""What photographs come from: folders of people, InsightFace's files, published lists of pairs."""
