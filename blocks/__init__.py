"""What Prefect keeps for Standby: credentials, resources and recovery plans."""

from blocks.credentials import ContentUnderstandingEntra, ContentUnderstandingKey
from blocks.recovery_plan import RecoveryPlan
from blocks.resource import ContentUnderstandingResource
from blocks.store import (
    BlockMissing,
    BlockUnusable,
    SavedBlock,
    load_configuration_from_blocks,
    register_types,
    save_configuration,
)

__all__ = [
    "BlockMissing",
    "BlockUnusable",
    "ContentUnderstandingEntra",
    "ContentUnderstandingKey",
    "ContentUnderstandingResource",
    "RecoveryPlan",
    "SavedBlock",
    "load_configuration_from_blocks",
    "register_types",
    "save_configuration",
]
