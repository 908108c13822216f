"""Definitions stored in the vault, and analyzers rebuilt from them where their source no longer answers."""
