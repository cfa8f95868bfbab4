"""The configuration: one YAML file, or none -> one frozen `Settings`, or `ConfigErrors` with all that is wrong."""

from gateway.settings.address import Address, is_local
from gateway.settings.keyfile import digest_of, parse_keys, read_keys, read_secret, secret_path
from gateway.settings.load import defaults, key_variable, load, parse
from gateway.settings.model import (
    AdminSettings,
    AuthSettings,
    AutoSettings,
    BackendSettings,
    BackendTimeouts,
    CorsSettings,
    KeySettings,
    Limits,
    LogSettings,
    MediaSettings,
    ModelSettings,
    OtelSettings,
    QuotaSettings,
    Settings,
    StateSettings,
    TargetSettings,
    Timeouts,
    TlsSettings,
)
from gateway.settings.problems import ConfigErrors, ConfigProblem, NoCredentials
from gateway.settings.restart import NeedsRestart, check_fixed
from gateway.settings.unbuilt import NotBuilt, refuse_unbuilt
from gateway.settings.values import read_header_list

__all__ = [
    "Address",
    "AdminSettings",
    "AuthSettings",
    "AutoSettings",
    "BackendSettings",
    "BackendTimeouts",
    "ConfigErrors",
    "ConfigProblem",
    "CorsSettings",
    "KeySettings",
    "Limits",
    "LogSettings",
    "MediaSettings",
    "ModelSettings",
    "NeedsRestart",
    "NoCredentials",
    "NotBuilt",
    "OtelSettings",
    "QuotaSettings",
    "Settings",
    "StateSettings",
    "TargetSettings",
    "Timeouts",
    "TlsSettings",
    "check_fixed",
    "defaults",
    "digest_of",
    "is_local",
    "key_variable",
    "load",
    "parse",
    "parse_keys",
    "read_header_list",
    "read_keys",
    "read_secret",
    "refuse_unbuilt",
    "secret_path",
]
