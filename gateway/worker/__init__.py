"""Servers that run as processes of their own, beside the gateway: `gateway worker KIND`."""
