"""Proof by document: samples are analysed at source and target, and what both answer is compared."""
