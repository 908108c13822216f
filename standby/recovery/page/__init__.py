"""One page about a plan, to read, to print and to send: regions, readiness, timeline."""
