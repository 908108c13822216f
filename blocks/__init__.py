"""Prefect blocks for Standby: credentials, resources and recovery plans."""

from standby.blocks.recovery_plan import RecoveryPlan
from standby.blocks.resource import ContentUnderstandingEntra, ContentUnderstandingKey, ContentUnderstandingResource
from standby.blocks.store import (
    BlockMissing,
    BlockUnusable,
    load_configuration_from_blocks,
    load_what_is_usable,
    register_types,
    save_configuration,
    saving_blocks,
)

__all__ = [
    "BlockMissing",
    "BlockUnusable",
    "ContentUnderstandingEntra",
    "ContentUnderstandingKey",
    "ContentUnderstandingResource",
    "RecoveryPlan",
    "load_configuration_from_blocks",
    "load_what_is_usable",
    "register_types",
    "save_configuration",
    "saving_blocks",
]
