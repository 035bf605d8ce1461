"""The sources of photos: folders of people, InsightFace's files, published lists of pairs."""
