"""`python -m deploy.local`: run the stack in front (the default), remove its data, or check the migrations."""

import sys

from deploy.local.errors import StackError
from shared.settings import load

USAGE = """\
python -m deploy.local [run] [options of the demo engine: --data FILE, --as-of MONTH, --seed NUMBER]
python -m deploy.local clean-data [--yes]
python -m deploy.local check-migrations"""


def main() -> None:
    """Do what the command line says; a problem that a person can put right is one message and exit status 1."""
    if sys.platform == "win32":
        raise SystemExit("The embedded stack does not run on Windows: docker compose -f deploy/compose.yaml up")
    # Not argparse: all that follows `run` belongs to the demo engine, which has a parser of its own.
    command, *rest = sys.argv[1:] if sys.argv[1:] and not sys.argv[1].startswith("--") else ["run", *sys.argv[1:]]
    try:
        match command, rest:
            case "run", options if "--help" not in options:
                _run(options)
            case "clean-data", [] | ["--yes"]:
                _clean_data(without_asking=rest == ["--yes"])
            case "check-migrations", []:
                _check_migrations()
            case _:
                raise SystemExit(USAGE)
    except StackError as error:
        raise SystemExit(f"\n{error}") from None


def _run(demo_options: list[str]) -> None:
    from deploy.local.run import run
    from deploy.local.settings import LocalSettings

    run(load(LocalSettings), demo_options)


def _clean_data(*, without_asking: bool) -> None:
    from deploy.local.settings import LocalSettings
    from deploy.local.state import remove_state

    folder = load(LocalSettings).local_dir
    if not folder.exists():
        print(f"There is no local data in {folder}.")
        return
    if not without_asking:
        print(f"This removes all signals, users, events and logs of the local stack in {folder}.")
        if not sys.stdin.isatty() or input("Type yes to remove them: ").strip().lower() != "yes":
            raise StackError("Nothing was removed.")
    remove_state(folder)
    print("Removed.")


def _check_migrations() -> None:
    from deploy.local.migrations import check_migrations

    check_migrations()


if __name__ == "__main__":
    main()
