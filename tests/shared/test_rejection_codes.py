"""Every code that a message is rejected with is in the one list, which metrics begin with."""

import ast
from collections.abc import Iterator, Sequence

from deploy.local.processes import PROJECT_ROOT
from shared.events.decoding import CODES


def codes() -> Iterator[object]:
    """Those that stand in the code, be it in a rejection or in what one is made of."""
    for folder in ("shared", "services"):
        for path in sorted(PROJECT_ROOT.joinpath(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "RejectedMessageError":
                    yield from _constants(node.args[:1])
                elif isinstance(node, ast.FunctionDef) and node.name == "_why_not_json":
                    answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
                    yield from _constants([each.elts[0] for each in answers if isinstance(each, ast.Tuple)])


def _constants(nodes: Sequence[ast.expr]) -> Iterator[object]:
    return (node.value for node in nodes if isinstance(node, ast.Constant))


def test_the_list_is_whole_and_has_nothing_that_never_comes() -> None:
    assert set(codes()) == set(CODES)
