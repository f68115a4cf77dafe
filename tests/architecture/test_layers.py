"""Who may import whom, and where SQL may stand."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent for path in ROOT.glob("services/*/main.py"))
HANDLERS = sorted(file for pattern in ("endpoints*.py", "consumers*.py") for file in ROOT.glob(f"services/*/{pattern}"))
FILE_NAMES = {
    "__init__.py",
    "main.py",
    "settings.py",
    "models.py",
    "schemas.py",
    "repository.py",
    "service.py",
    "endpoints.py",
    "consumers.py",
}
# What builds or runs a statement; a session may pass through a handler as an argument.
SQL_NAMES = {"select", "insert", "update", "delete", "text", "func", "exists", "literal_column"}
SQL_METHODS = {"execute", "scalar", "scalars", "exec_driver_sql", "fetch", "fetchrow", "fetchval"}


def imports(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_there_are_four_services() -> None:
    assert [service.name for service in SERVICES] == ["activity", "auth", "signals", "workflow"]


@pytest.mark.parametrize("file", HANDLERS, ids=relative)
def test_handlers_hold_no_sql(file: Path) -> None:
    for module in imports(file):
        if module.startswith(("sqlalchemy", "asyncpg")):
            assert module.rpartition(".")[2] not in SQL_NAMES, f"{relative(file)} builds SQL: {module}"
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in SQL_METHODS, f"{relative(file)}:{node.lineno} runs SQL"


@pytest.mark.parametrize("service", SERVICES, ids=relative)
def test_who_remembers_answers_forgets_them(service: Path) -> None:
    used = {module for file in service.glob("*.py") for module in imports(file)}
    workers = next(
        word.value
        for node in ast.walk(ast.parse((service / "main.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "create_app"
        for word in node.keywords
        if word.arg == "workers"
    )
    assert ("shared.idempotency.once" in used) == ("forget_answers" in ast.unparse(workers))


@pytest.mark.parametrize("service", SERVICES, ids=relative)
def test_services_share_their_file_names(service: Path) -> None:
    """A file is one of the map's, a part of one (`repository_ingest.py`), a pure function or a command."""
    for file in service.glob("*.py"):
        text = file.read_text()
        is_part = any(file.stem.startswith(f"{Path(name).stem}_") for name in FILE_NAMES)
        is_command = '__name__ == "__main__"' in text
        is_pure = not any(module.startswith(("sqlalchemy", "fastapi", "asyncpg")) for module in imports(file))
        assert file.name in FILE_NAMES or is_part or is_command or is_pure, f"{relative(file)} is not on the map"


@pytest.mark.parametrize("service", SERVICES, ids=relative)
def test_a_main_reads_like_a_table_of_contents(service: Path) -> None:
    lines = [line for line in (service / "main.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 45, f"{relative(service / 'main.py')} does more than wiring"


@pytest.mark.parametrize("service", SERVICES, ids=relative)
def test_services_never_commit(service: Path) -> None:
    """A request or a batch is one transaction, opened and committed at its edge."""
    for file in service.glob("*.py"):
        if '__name__ == "__main__"' in file.read_text() and file.name != "main.py":
            continue  # a command is an edge of its own
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"commit", "rollback"}, f"{relative(file)}:{node.lineno}"
