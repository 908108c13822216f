"""Failover drills, and the evidence that is kept of them."""
