"""Uploaded files as this dialect tells them. Source: https://docs.claude.com/en/api/files-create."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.canonical.files import File
from gateway.dialects.fields import Json

PREFIX = "file_"


def render_file(file: File) -> Json:
    return {
        "id": f"{PREFIX}{file.id}",
        "type": "file",
        "filename": file.name,
        "mime_type": file.mime or "application/octet-stream",
        "size_bytes": file.size,
        "created_at": datetime.fromtimestamp(file.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "downloadable": True,
    }


def render_list(files: list[Json], more: bool) -> Json:
    ids = [f["id"] for f in files]
    return {"data": files, "has_more": more, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


def render_deleted(file: File) -> Json:
    return {"id": f"{PREFIX}{file.id}", "type": "file_deleted"}
