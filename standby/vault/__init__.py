"""Where everything of a plan is kept: a local folder, or any file system that stores whole objects."""
