"""Prefect blocks for Standby: credentials, resources and recovery plans."""

from blocks.recovery_plan import RecoveryPlan
from blocks.resource import ContentUnderstandingEntra, ContentUnderstandingKey, ContentUnderstandingResource
from blocks.store import (
    BlockMissing,
    BlockUnusable,
    load_configuration_from_blocks,
    register_types,
    save_configuration,
)
from blocks.vault import BlockFileSystem, VaultBlockUnusable, open_second, open_vault

__all__ = [
    "BlockFileSystem",
    "BlockMissing",
    "BlockUnusable",
    "ContentUnderstandingEntra",
    "ContentUnderstandingKey",
    "ContentUnderstandingResource",
    "RecoveryPlan",
    "VaultBlockUnusable",
    "load_configuration_from_blocks",
    "open_second",
    "open_vault",
    "register_types",
    "save_configuration",
]
