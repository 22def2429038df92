"""The networks by name, and their settings from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.network import LightNetwork

if TYPE_CHECKING:
    from se3set_ase.nn.published.config import PublishedConfig

    NetworkConfig = LightConfig | PublishedConfig

#: Networks by name; a preset is a network with default settings.
ARCHITECTURES = ("light", "published")


def _classes(architecture: str) -> tuple[type, type]:
    """Classes of the configuration and of the network."""
    if architecture == "published":  # imports e3nn, which takes seconds
        from se3set_ase.nn.published.network import PublishedConfig, PublishedNetwork

        return PublishedConfig, PublishedNetwork
    return LightConfig, LightNetwork


def network_config(values: Mapping[str, Any]) -> NetworkConfig:
    """A network's configuration from plain values, ``architecture`` among them.

    Raises
    ------
    ValueError : unknown architecture or keys.
    """
    options = dict(values)
    architecture = options.pop("architecture", "light")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"expected architecture to be one of {sorted(ARCHITECTURES)}, got {architecture!r}"
        )
    config_class = _classes(architecture)[0]
    unknown = set(options) - {f.name for f in fields(config_class)}
    if unknown:
        raise ValueError(
            f"expected settings of the {architecture} network, got unknown keys {sorted(unknown)}"
        )
    return config_class(**options)


def network_values(config: NetworkConfig) -> dict[str, Any]:
    """What :func:`network_config` takes, without optional parts that are off."""
    values = {k: v for k, v in asdict(config).items() if v is not False}
    return {"architecture": architecture_of(config), **values}


def preset_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve ``preset`` (default: ``light``) into the values that :func:`network_config` takes.

    Raises
    ------
    ValueError : unknown preset.
    """
    changes = dict(values)
    name = changes.pop("preset", "light")
    if name not in ARCHITECTURES:
        raise ValueError(f"expected preset to be one of {sorted(ARCHITECTURES)}, got {name!r}")
    return {"architecture": name, **asdict(_classes(name)[0]()), **changes}


def network_class(architecture: str) -> type:
    """The network of an architecture."""
    return _classes(architecture)[1]


def architecture_of(config: NetworkConfig) -> str:
    """Name of the architecture that a configuration belongs to."""
    return "light" if isinstance(config, LightConfig) else "published"
