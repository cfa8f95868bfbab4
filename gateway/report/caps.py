"""What each deployment can do, and how that is known: from the cards of `GET /v1/models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
"""One deployment, JSON-ready (`rows`)."""

MODALITIES = ("text", "image", "audio", "video", "document")
SOURCES = {"probed": "p", "operator": "o", "family": "f", "assumed": "a", "measured": "m"}
UNKNOWN = {"value": None, "source": None}
_LEGEND = (
    "p probed on the running server, m measured while serving, o the operator's word, f the model family's table, "
    "a assumed of servers of this kind"
)


def rows(cards: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per deployment, by label. `cards`: the `data` of `GET /v1/models`."""
    found: dict[str, Row] = {}
    for card in cards:
        gateway = card["gateway"]
        for target in gateway["targets"]:
            row = found.setdefault(target["target"], _row(target))
            name = gateway["public_name"]
            if not gateway["auto"] and name not in row["names"]:
                row["names"].append(name)
    return [found[label] for label in sorted(found)]


def _row(target: Mapping[str, Any]) -> Row:
    facts: Mapping[str, Any] = target["facts"]

    def fact(name: str) -> dict[str, Any]:
        return dict(facts.get(name) or UNKNOWN)

    rates = target["rates"]
    forced = fact("forced_tool")
    chats = facts.get("operations", UNKNOWN)
    return {
        "target": target["target"],
        "names": [],
        "kind": target["kind"],
        "state": target["state"],
        "detail": target["detail"],
        "local": target["local"],
        "modalities": {
            "text": {"value": chats["value"] is None or bool({"chat", "completion"} & set(chats["value"]))}
            | {"source": chats["source"] or "assumed"},
            **{m: fact(m) for m in MODALITIES[1:]},
        },
        "formats": {m: fact(f"{m}_formats") for m in ("image", "audio", "video")},
        "limits": {m: fact(f"{m}_limit") for m in ("image", "audio", "video")},
        "context": fact("context"),
        "tools": {"auto": fact("tools"), "required": forced, "named": dict(forced)},
        "json_schema": fact("json_schema"),
        "thinking": {"value": fact("thinking"), "levels": fact("thinking_levels"), "budget": fact("thinking_budget")},
        "logprobs": fact("logprobs"),
        "choices": fact("choices"),
        "prefill": fact("prefill"),
        "variant": fact("variant"),
        "quantization": fact("quantization"),
        "hardware": fact("hardware"),
        "version": fact("version"),
        "rates": {
            "prompt": _rate(rates["prompt"], fact("prompt_rate")),
            "decode": _rate(rates["decode"], dict(UNKNOWN)),
        },
    }


def _rate(measured: float | None, said: dict[str, Any]) -> dict[str, Any]:
    """Tokens per second: as measured, else as the operator says."""
    return said if measured is None else {"value": measured, "source": "measured"}


def table(found: Sequence[Row], width: int = 120) -> str:
    """Deployments side by side, as many as fit into `width` columns; each value with the letter of its source."""
    if not found:
        return "no deployment is known: no server answers, or none is configured; `gateway doctor` says what to change"
    columns = [_column(row) for row in found]
    heads = [name for name, _ in columns[0]]
    left = max(len(h) for h in heads)
    out: list[str] = []
    while columns:
        taken: list[list[tuple[str, str]]] = []
        used = left
        while columns and (not taken or used + 2 + _width(columns[0]) <= width):
            used += 2 + _width(columns[0])
            taken.append(columns.pop(0))
        for i, head in enumerate(heads):
            cells = [column[i][1].ljust(_width(column)) for column in taken]
            out.append("  ".join([head.ljust(left), *cells]).rstrip())
        out.append("")
    return "\n".join([*out, *_remarks(found), _LEGEND])


def _remarks(found: Sequence[Row]) -> list[str]:
    """Why something was not seen to come through."""
    out = [
        f"{row['target']}: {modality} {check['verdict']}: {check['detail']}"
        for row in found
        for modality, check in row.get("deep", {}).items()
        if check["verdict"] not in ("came through", "not asked") and check.get("detail")
    ]
    return [*out, ""] if out else []


def with_rates(found: Sequence[Row], newer: Sequence[Row]) -> None:
    """Takes over what was measured meanwhile."""
    rates = {row["target"]: row["rates"] for row in newer}
    for row in found:
        row["rates"] = rates.get(row["target"], row["rates"])


def _column(row: Row) -> list[tuple[str, str]]:
    media = [(m, row["modalities"][m], row["formats"].get(m, UNKNOWN)) for m in MODALITIES[1:4]]
    return [
        ("", row["target"]),
        ("names", ", ".join(row["names"]) or "-"),
        ("kind", row["kind"] + ("" if row["local"] else ", hosted")),
        ("state", row["state"]),
        *((m, _cell(able)) for m, able, _ in media),
        *((f"{m} formats", _formats(m, known) if able["value"] else "-") for m, able, known in media),
        ("variant", _cell(row["variant"])),
        ("context", _cell(row["context"])),
        ("tools: auto", _cell(row["tools"]["auto"])),
        ("tools: required", _cell(row["tools"]["required"])),
        ("tools: named", _cell(row["tools"]["named"])),
        ("json_schema", _cell(row["json_schema"])),
        ("thinking", _cell(row["thinking"]["value"])),
        ("quantization", _cell(row["quantization"])),
        ("hardware", _cell(row["hardware"])),
        ("version", _cell(row["version"])),
        ("prompt tokens/s", _cell(row["rates"]["prompt"])),
        ("answer tokens/s", _cell(row["rates"]["decode"])),
        *((f"{m}, looked at", _checked(row, m)) for m in ("image", "audio", "video") if "deep" in row),
    ]


def _cell(fact: Mapping[str, Any]) -> str:
    value = fact["value"]
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.0f}"
    else:
        text = str(value)
    return f"{text} {SOURCES.get(fact['source'] or '', '')}".rstrip()


def _formats(modality: str, fact: Mapping[str, Any]) -> str:
    if fact["value"] is None:
        return "unknown"
    short = [f.removeprefix(f"{modality}/").removeprefix("x-") for f in fact["value"]]
    return f"{' '.join(short)} {SOURCES.get(fact['source'], '')}".rstrip()


def _checked(row: Row, modality: str) -> str:
    found = row["deep"].get(modality)
    return str(found["verdict"]) if found else "-"


def _width(column: list[tuple[str, str]]) -> int:
    return max(len(text) for _, text in column)
