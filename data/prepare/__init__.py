"""``python -m data.prepare``: photographs → a folder of aligned faces, plain and masked, with its CSVs."""
