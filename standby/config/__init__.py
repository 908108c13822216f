"""The operator's decisions: resources, recovery plans, and the file that has them."""
