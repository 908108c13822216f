"""The sinks that publish to applications which resource serves."""
