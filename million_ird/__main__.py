"""The `mird` command; `python -m million_ird` is the same."""

from million_ird.cli.main import app


def main() -> None:
    """Run the command line."""
    app(prog_name="mird")


if __name__ == "__main__":
    main()
