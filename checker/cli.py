"""The commands of `checker`."""

import typer

from checker.explore_command import explore_command
from checker.model_command import model_command
from checker.verify_command import verify_command
from checker.weaken_command import weaken_command

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.command("verify")(verify_command)
app.command("model")(model_command)
app.command("weaken")(weaken_command)
app.command("explore")(explore_command)


@app.callback()
def _commands() -> None:
    """Says whether what a system really did is a behaviour of its spec."""


def main() -> None:
    app()
