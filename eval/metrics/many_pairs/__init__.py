"""Pairs of templates, and every face against every other: millions of pairs, of which none is looked at twice."""
