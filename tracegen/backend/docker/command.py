"""`tracegen clean`: what runs in containers left behind is removed."""

from typing import Annotated, Final

import typer

from tracegen.backend.docker.engine import IMAGE, connect, left_by, remove, runs_there, understood
from tracegen.errors import HarnessError

CANNOT: Final = 2


def clean_command(
    everything: Annotated[bool, typer.Option("--all", help="Also runs whose harness is alive.")] = False,
    images: Annotated[bool, typer.Option("--images", help="Also the images; the next run builds them anew.")] = False,
) -> None:
    """Remove what runs in containers left at the Docker engine: containers, networks, volumes, found by their labels.

    A run removes all of that itself, however it ends; what is left is of one that could not.

    Example: tracegen clean

    Exit codes: 0 nothing is left; 2 the engine cannot be used.
    """
    try:
        client = connect()
        for run, is_alive in runs_there(client).items():
            if is_alive and not everything:
                typer.echo(f"run {run} is under way: left alone")
                continue
            found = left_by(client, run)
            remove(client, run)
            typer.echo(
                f"run {run}: removed {len(found.containers)} containers, {len(found.networks)} networks, "
                f"{len(found.volumes)} volumes"
            )
        if images:
            with understood():
                for image in client.images.list(filters={"label": IMAGE}):
                    client.images.remove(str(image.id), force=True)
                    typer.echo(f"removed the image {', '.join(image.tags) or image.short_id}")
    except HarnessError as error:
        typer.echo(f"tracegen: {error}", err=True)
        raise typer.Exit(CANNOT) from None
