"""The parts of the pages in docs/ that the code knows. `python -m tests.docs.blocks` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path

from gateway.backends import Backend, kinds, load
from gateway.backends.base import OpenAIWire
from gateway.canonical.facts import Facts, layer
from gateway.connect.clients import CLIENTS
from gateway.connect.fleet import NO_KEY, Fleet, Model
from gateway.families.default import QUANTIZATIONS
from gateway.families.gemma4 import VARIANTS, recognise
from gateway.observe import Metrics
from gateway.routing.findings import CODES
from tests.watch.promql import rules

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = DOCS / "gemma4-matrix.md"
CLIENT_PAGES = sorted((DOCS / "clients").glob("*.md"))
PAGES = (PAGE, DOCS / "doctor.md", DOCS / "operations" / "metrics.md", *CLIENT_PAGES)
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_WORDS = {True: "yes", False: "no", None: "asked"}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sizes() -> str:
    rows = [[name, f"{v.size:g} B", _WORDS[v.audio]] for name, v in VARIANTS.items()]
    return table(["variant", "parameters", "hears"], rows)


def _row(name: str, backend: Backend) -> list[str]:
    """As routing sees a Gemma 4 E4B there that was not probed yet."""
    f = layer(("family", recognise(["google/gemma-4-E4B-it"]) or Facts()), ("assumed", backend.assumed))
    mine = backend.assumed
    media = [
        mine.image is not False and f.image,
        mine.audio is not False and f.audio,
        mine.video is not False and f.video,
    ]
    stops = backend.stops_itself if isinstance(backend, OpenAIWire) else True
    streams = backend.always_streams if isinstance(backend, OpenAIWire) else False
    return [
        f"`{name}`",
        *(_WORDS[bool(m)] for m in media),
        f.forced_tool or "asked",
        f.json_schema or "asked",
        _WORDS[f.logprobs],
        "any" if f.choices is None else str(f.choices),
        _WORDS[f.prefill],
        "own" if stops else "gateway",
        "always" if streams else "as asked",
        _WORDS[bool(f.counts)],
    ]


def kind_rows() -> str:
    head = ["kind", "vision", "sound", "video", "forced tool", "schema", "logprobs", "`n`", "prefill", "stop", "stream"]
    names = sorted((k for k in kinds() if load(k).local), key=lambda k: (load(k).tier, k))
    return table([*head, "counts"], [_row(k, load(k)) for k in names])


def quantizations() -> str:
    return " ".join(f"`{q}`" for q in QUANTIZATIONS) + "\n"


def tiers() -> str:
    names = sorted(kinds(), key=lambda k: (load(k).tier, k))
    groups = groupby(names, key=lambda k: load(k).tier)
    return "".join(f"{i}. {', '.join(f'`{k}`' for k in group)}\n" for i, (_, group) in enumerate(groups, 1))


def codes() -> str:
    return table(["code", "level", "what it means"], [[f"`{c}`", level, text] for c, (level, text) in CODES.items()])


_MODEL = Model("gemma-4", 131_072, image=True)
SHOWN = Fleet("http://127.0.0.1:4000", NO_KEY, "", _MODEL, (_MODEL,))
"""What the pages of clients are written for: the gateway of this machine, without a key."""
_FENCES = {"json": "json", "yaml": "yaml", "toml": "toml", "env": "sh"}


def connection(client: str) -> str:
    """What `gateway connect` sets, as a person would do it by hand."""
    told = CLIENTS[client](SHOWN)
    out = []
    if told.env:
        exports = "".join(f"export {name}={value}\n" for name, value in told.env.items())
        out.append(f"```sh\n{exports}```\n")
    out += [f"`{file.path}`:\n\n```{_FENCES[file.format]}\n{file.text()}```\n" for file in told.files]
    return "\n" + "\n".join(out) + "\n"


def metrics() -> str:
    rows = [
        [f"`{e.name}`", e.kind, ", ".join(f"`{label}`" for label in e.labels) or "-", e.about]
        for e in Metrics().catalogue
    ]
    return table(["metric", "type", "labels", "what it tells"], rows)


def recorded() -> str:
    rows = {}
    for r in (r for r in rules() if "record" in r):
        limit = r["expr"].removeprefix("vector(").removesuffix(")")
        said = f"{limit} s for {r['labels']['modality']}" if "labels" in r else "`" + " ".join(r["expr"].split()) + "`"
        rows.setdefault(r["record"], []).append(said)
    return table(["record", "expression"], [[f"`{name}`", ", ".join(said)] for name, said in rows.items()])


BLOCKS: dict[str, Callable[[], str]] = {
    **{f"connect_{name.replace('-', '_')}": partial(connection, name) for name in CLIENTS},
    "sizes": sizes,
    "kinds": kind_rows,
    "quantizations": quantizations,
    "tiers": tiers,
    "codes": codes,
    "metrics": metrics,
    "recorded": recorded,
}


def renewed(page: str) -> str:
    """The page with every generated block as the code has it."""
    return _BLOCK.sub(lambda m: m[1] + BLOCKS[m[2]]() + m[4], page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
