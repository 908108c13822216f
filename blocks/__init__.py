"""Prefect blocks for Standby: credentials, resources and recovery plans."""

from standby.blocks.recovery_plan import RecoveryPlan
from standby.blocks.resource import ContentUnderstandingEntra, ContentUnderstandingKey, ContentUnderstandingResource

__all__ = ["ContentUnderstandingEntra", "ContentUnderstandingKey", "ContentUnderstandingResource", "RecoveryPlan"]
