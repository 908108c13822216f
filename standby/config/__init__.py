"""What the operator decided: resources, recovery plans, and the file that says so."""
