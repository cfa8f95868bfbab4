"""Part of `make check`: is every name there that tests import from our own packages? It is looked for in the sources:
mypy does not look at tests, and those for what is not installed here are not even loaded. Exit code 1 if one is not."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

OURS = ("gateway", "tests", "bench")


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_in(body: list[ast.stmt]) -> Iterator[str]:
    """What a module binds: at its top, and in what stands there under a condition."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        for part in ("body", "orelse", "finalbody"):
            yield from names_in(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from names_in(handler.body)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.With):
            yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def unresolved(tree: ast.Module, modules: dict[str, set[str]]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        source = node.module if isinstance(node, ast.ImportFrom) else None
        for module, name in [(source, alias.name) if source else (alias.name, "") for alias in node.names]:
            there = modules.get(module)
            if module.partition(".")[0] not in OURS or f"{module}.{name}" in modules:
                continue
            if there is None or (name and name not in there and "__getattr__" not in there):
                yield node.lineno, f"{module}.{name}".rstrip(".")


def main() -> int:
    gc.disable()  # of trees it finds nothing to free, and takes half of the time for it
    trees = {path: ast.parse(path.read_bytes()) for root in OURS for path in sorted(Path(root).rglob("*.py"))}
    modules = {module_of(path): set(names_in(tree.body)) for path, tree in trees.items()}
    others = [(path, tree) for path, tree in trees.items() if path.parts[0] != "gateway"]  # that is mypy's
    wrong = [f"{path}:{line}: there is no {what}" for path, tree in others for line, what in unresolved(tree, modules)]
    print("\n".join(wrong) or f"{len(others)} files of tests: every name that they import from us is there")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
