"""The state of an attempt is written in one file; everything else asks it to."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.run import ROOT

MOVES = "invoices/models/moves.py"
IN_MEMORY = {"invoices/due.py", "invoices/intents.py"}
"""They bring the objects at hand in line with a step that was just taken."""


def trees() -> Iterator[tuple[str, ast.AST]]:
    """The project's own files, without migrations and the sandbox."""
    for room in ("backoffice", "invoices", "providers"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if "/migrations/" not in name and "/sandbox/" not in name:
                yield name, ast.parse(path.read_text())


def writes(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that may write a column named `state` of rows that exist."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        named = {keyword.arg for keyword in node.keywords}
        text = ast.unparse(node)
        bulk = node.func.attr == "bulk_update" and "'state'" in text
        if bulk or (node.func.attr in ("update", "update_or_create") and "state" in named):
            yield node


def test_only_the_file_of_the_moves_writes_it() -> None:
    """A batch and an import have states, too: who writes one says of which of them it is."""
    writers = {
        (name, function.name): ast.unparse(function)
        for name, tree in trees()
        if name != MOVES
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and list(writes(function))
    }
    for where, text in writers.items():
        assert "CancellationBatch.objects" in text or "SyncRun.objects" in text, where
        assert "ttempt" not in text, where


def test_the_file_of_the_moves_is_found_to_write_it() -> None:
    assert list(writes(ast.parse((ROOT / MOVES).read_text())))


def test_objects_at_hand_are_set_only_after_a_move() -> None:
    found = {
        name
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
        and target.attr == "state"
        and ast.unparse(target.value) != "self"
    }
    assert found <= IN_MEMORY


def test_no_statement_of_ours_updates_the_table_by_hand() -> None:
    for path in (ROOT / "invoices").rglob("*.py"):
        said = Path(path).read_text().lower()
        assert "update invoices_cancellationattempt" not in said, path
