"""What the gateway tells its operator: metrics and log lines."""

from gateway.observe.log import Log, Soon
from gateway.observe.metrics import Metrics

__all__ = ["Log", "Metrics", "Soon"]
