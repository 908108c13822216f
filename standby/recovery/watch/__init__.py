"""Looking whether a resource serves, functionally and from where the watch runs."""
