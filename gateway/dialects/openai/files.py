"""Uploaded files as this dialect tells them. Source: https://platform.openai.com/docs/api-reference/files."""

from __future__ import annotations

from gateway.canonical.files import File
from gateway.dialects.fields import Json

PREFIX = "file-"


def render_file(file: File) -> Json:
    return {
        "id": f"{PREFIX}{file.id}",
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": int(file.expires),
        "filename": file.name,
        "purpose": file.purpose or "user_data",
        "status": "processed",
        "status_details": None,
    }


def render_list(files: list[Json], more: bool) -> Json:
    ids = [f["id"] for f in files]
    return {
        "object": "list",
        "data": files,
        "has_more": more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }


def render_deleted(file: File) -> Json:
    return {"id": f"{PREFIX}{file.id}", "object": "file", "deleted": True}
