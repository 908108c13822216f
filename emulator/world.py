"""All resources of one emulator, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping

from emulator.config import Deployment, EmulatorConfig, OutageKind, SettingsChange
from emulator.faults import FaultBook
from emulator.state import Place, ResourceState, Settings
from emulator.tokens import CopyTokens, TokenIssuer

RESOURCE_SETTINGS = ("service_time", "latency", "operations_per_minute", "page_size")


class World:
    """Everything that a reset puts back."""

    def __init__(self, config: EmulatorConfig, places: Mapping[str, Place]) -> None:
        self._config = config
        self._places = places
        self.issuer = TokenIssuer(config.token_seconds)
        self.reset()

    def reset(self) -> None:
        """Put everything back to what the file says; keys, ports and the identity stay."""
        self.resources = {name: self._new(name) for name in self._places}
        self.faults = FaultBook(self._config.faults)
        self.outages: dict[str, OutageKind] = dict.fromkeys(self._places, "none")
        self.outages.update({outage.resource: outage.kind for outage in self._config.outages})
        self.copy_tokens = CopyTokens()
        self.issuer.seconds = self._config.token_seconds

    def with_id(self, resource_id: str) -> ResourceState | None:
        """Give the resource of an id, compared by case as the service was seen to do (REFERENCE: user)."""
        return next((state for state in self.resources.values() if state.place.resource_id == resource_id), None)

    def change(self, change: SettingsChange) -> None:
        """Change settings of one resource or of all."""
        given = change.model_fields_set
        for name in [change.resource] if change.resource else list(self.resources):
            settings = self.resources[name].settings
            for field in given.intersection(RESOURCE_SETTINGS):
                setattr(settings, field, getattr(change, field))
            if "defaults" in given:
                settings.defaults = None if change.defaults is None else dict(change.defaults)
            if "deployments" in given:
                settings.deployments = _by_name(change.deployments)
        if "token_seconds" in given:
            self.issuer.seconds = change.token_seconds
        if change.revoke_tokens:
            self.issuer.revoke_all()

    def _new(self, name: str) -> ResourceState:
        config = self._config.resources[name]
        settings = Settings(
            service_time=self._config.service_time,
            latency=self._config.latency,
            operations_per_minute=config.operations_per_minute,
            page_size=self._config.page_size,
            defaults=None if config.defaults is None else dict(config.defaults),
            deployments=_by_name(config.deployments),
        )
        return ResourceState(self._places[name], config, settings)


def _by_name(deployments: tuple[Deployment, ...]) -> dict[str, Deployment]:
    return {deployment.name: deployment for deployment in deployments}
