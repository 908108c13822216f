"""Where ledgers and definitions are kept: a local folder, or any file system that stores whole objects."""
