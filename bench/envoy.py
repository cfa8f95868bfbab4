"""Envoy as one more relay, where it is installed (scripts/envoy): a proxy in C++ that does nothing but pass on."""

from __future__ import annotations

import json
from pathlib import Path

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
BINARY = Path(__file__).parent.parent / ".cache" / "envoy" / "envoy" / "_bin" / "envoy"


def configuration(port: int, upstream: int) -> str:
    """One listener, one route, one cluster; one worker; no access log, no limit on time or size."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "fake", "timeout": "0s", "idle_timeout": "0s"}}
    router = {"name": "router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    filters = [{"name": "http", "typed_config": manager}]
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}}
    cluster = {
        "name": "fake",
        "type": "STATIC",
        "connect_timeout": "3s",
        "load_assignment": {"cluster_name": "fake", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "in", "address": address, "filter_chains": [{"filters": filters}]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
