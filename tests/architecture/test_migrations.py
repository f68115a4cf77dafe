"""A migration only adds: the release before runs on its schema. What takes away says that it is a contract, and why.

It leaves out of its INSERTs what it does not know: a new column is nullable or has a default that stays.
"""

import ast
import re
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[2] / "services"
MARK = "CONTRACT"
"""The constant of a migration that takes something away: why no code that may still run needs it."""

# Before the rule, by people who said in the file why it does no harm.
BEFORE_THE_RULE = {
    "0002_feed_groups": {"drop_constraint"},
    "0004_search": {"drop_index"},
    "0002_ownership": {
        "alter_column takes a default away",
        "alter_column to NOT NULL",
        "drop_index",
        "drop_column",
    },
    "0003_outcomes": {"add_column without a default"},
}
# Who drops an index keeps readers waiting; `replace_indexes_v1` does not.
TAKES_AWAY = frozenset({"drop_column", "drop_table", "rename_table", "drop_constraint", "drop_index"})
WORDS = ("DROP INDEX", "DROP TABLE", "DROP COLUMN", "RENAME ", "SET NOT NULL", "DROP DEFAULT", "TRUNCATE")
GIVEN_BY_THE_DATABASE = frozenset({"Identity", "Computed"})
ADDED_IN_SQL = re.compile(r"\bADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?([^,;]*)")

MIGRATIONS = sorted(SERVICES.glob("*/migrations/versions/[!_]*.py"))


def revision_of(tree: ast.Module) -> tuple[str, bool, bool]:
    """Its name, whether it begins a history, and whether it says that it is a contract."""
    values: dict[str, object] = {}
    for node in tree.body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        value = node.value if isinstance(node, ast.AnnAssign | ast.Assign) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            values[target.id] = value.value
    return str(values["revision"]), values.get("down_revision") is None, bool(values.get(MARK))


def problems(source: str) -> list[str]:
    """What a migration takes from the code of the release before."""
    tree = ast.parse(source)
    _, is_first, is_contract = revision_of(tree)
    if is_first or is_contract:
        return []
    found = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "downgrade"):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            if name in TAKES_AWAY or (name == "alter_column" and "new_column_name" in given):
                found.append(name)
            if name == "add_column":
                found += [f"{name} without a default" for column in call.args if _must_be_given(column)]
                found += [
                    f"{name} of what is written elsewhere" for column in call.args if isinstance(column, ast.Name)
                ]
            if name == "alter_column" and ast.unparse(given.get("nullable", ast.Constant(True))) == "False":
                found.append("alter_column to NOT NULL")
            if name == "alter_column" and ast.unparse(given.get("server_default", ast.Constant(""))) in (
                "None",
                "False",
            ):
                found.append("alter_column takes a default away")
    texts = [
        node.value.upper()
        for part in tree.body
        if not (isinstance(part, ast.FunctionDef) and part.name == "downgrade")
        for node in ast.walk(part)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    added = [column for text in texts[1:] for column in ADDED_IN_SQL.findall(text)]
    found += ["ADD COLUMN without a default" for column in added if _must_be_given_in_sql(column)]
    return found + [word for word in WORDS if any(word in text for text in texts[1:])]


def _must_be_given(column: ast.expr) -> bool:
    if not isinstance(column, ast.Call):
        return False
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in column.keywords}
    given |= {ast.unparse(part.func).rpartition(".")[2]: "" for part in column.args if isinstance(part, ast.Call)}
    must = given.get("nullable") == "False" or given.get("primary_key") == "True"
    return (
        must and given.get("server_default", "None") in ("None", "False") and not given.keys() & GIVEN_BY_THE_DATABASE
    )


def _must_be_given_in_sql(column: str) -> bool:
    return "NOT NULL" in column and "DEFAULT" not in column and "GENERATED" not in column


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_a_migration_only_adds(path: Path) -> None:
    source = path.read_text()
    known = BEFORE_THE_RULE.get(revision_of(ast.parse(source))[0], set())
    assert set(problems(source)) == known, (
        f'{path.name} needs {MARK} = "why no running code needs it", or a later release'
    )


HEAD = '"""What."""\nrevision: str = "x"\ndown_revision: str | None = "w"\n'


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=True))', True),
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=False, server_default=""))', True),
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=False))', False),
        ('op.drop_column("t", "c")', False),
        ('op.alter_column("t", "c", new_column_name="d")', False),
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=False, server_default=None))', False),
        ('op.add_column("t", sa.Column("c", sa.BigInteger(), sa.Identity(), nullable=False))', True),
        ('op.add_column("t", sa.Column("c", sa.Text(), primary_key=True))', False),
        ('op.add_column("t", COLUMN)', False),
        ('op.alter_column("t", "c", nullable=False)', False),
        ('op.alter_column("t", "c", nullable=True)', True),
        ('op.alter_column("t", "c", server_default=None)', False),
        ('op.alter_column("t", "c", server_default="")', True),
        ('op.execute("ALTER TABLE t ADD COLUMN c text NOT NULL")', False),
        ('op.execute("ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT 0, ADD COLUMN d text NOT NULL")', False),
        ('op.execute("ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT 0, ADD COLUMN d text")', True),
        ('op.execute("ALTER TABLE t ALTER COLUMN c DROP DEFAULT")', False),
        ('op.execute("ALTER TABLE t RENAME TO u")', False),
        ('op.drop_index("i", table_name="t")', False),
        ('op.execute("DROP INDEX i")', False),
    ],
)
def test_what_the_rule_finds(line: str, kept: bool) -> None:
    source = f"{HEAD}def upgrade() -> None:\n    {line}\n"
    assert (problems(source) == []) is kept
    assert problems(source.replace(HEAD, f'{HEAD}CONTRACT = "Nobody reads it."\n')) == []
    assert problems(f"{HEAD}def downgrade() -> None:\n    {line}\n") == []
