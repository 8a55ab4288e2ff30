"""`metalayer inbox`: what is sent to this environment."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

command = Noun(name="inbox", help="Take in what is sent over HTTP, and see what waits.")


@verb(
    "serve",
    examples=(
        "metalayer inbox serve",
        "metalayer inbox serve -e prod --yes --host 0.0.0.0 --port 8321",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="The port; 0 takes a free one."
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=10 * 1024 * 1024,
    show_default=True,
    metavar="BYTES",
    help="The largest body that is taken.",
)
@click.option(
    "--max-records",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    metavar="N",
    help="The most records a request may have.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="How many requests may wait in an inbox before it takes no more.",
)
def serve(call: Call, host: str, port: int, max_body: int, max_records: int, max_waiting: int) -> None:
    """Listen for records and store them until they are loaded.

    POST /ingest/NAME takes JSON, JSON Lines and CloudEvents from who has a token with the scope ingest. GET /health
    says whether it does. On SIGTERM or Ctrl-C nothing more is taken, what is under way is stored and answered, and the
    process ends. Loading is done by `metalayer run`.
    """
    from metalayer.interfaces.api.ingest import IngestApplication  # noqa: PLC0415 - most verbs serve nothing
    from metalayer.interfaces.api.server import bound, require_server, serve  # noqa: PLC0415 - as above
    from metalayer.orchestration.intake import Room  # noqa: PLC0415 - as above
    from metalayer.sources.envelopes import Limits  # noqa: PLC0415 - as above

    require_server()
    with call.open() as workspace:
        call.confirm("store what is sent")
        application = IngestApplication(workspace.gate(), Limits(max_body, max_records))
        intake = workspace.intake(application.settle, room=Room(rows=max_waiting))
        listening = bound(host, port)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        names = [name.partition(".")[2] for name in workspace.inboxes()]

        def started() -> None:
            if call.json:
                print_json({"url": url, "inboxes": names})
            note(f"listening at {url} for {', '.join(names)}")

        intake.start()
        application.intake = intake
        try:
            serve(application, listening, started=started)
        finally:
            intake.close()
    note("stopped: all that was answered is stored")


@verb("status", examples=("metalayer inbox status", "metalayer inbox status -e prod -o json"))
def status(call: Call) -> None:
    """Show what waits in each inbox, and since when."""
    with call.open() as workspace:
        found = workspace.inbox_standings()
    if call.json:
        print_json(
            [
                {
                    "inbox": item.source,
                    "waiting_requests": item.waiting_rows,
                    "waiting_records": item.waiting_records,
                    "waiting_bytes": item.waiting_bytes,
                    "oldest": item.oldest,
                    "received_records": item.received_records,
                    "repeated_records": item.repeated,
                    "refused_requests": item.refused,
                    "received_at": item.received_at,
                }
                for item in found
            ]
        )
        return
    if not found:
        say("no inbox")
        return
    rows = [
        (
            item.source,
            item.waiting_records,
            item.waiting_bytes,
            Label("" if item.oldest is None else f"{item.oldest:%Y-%m-%d %H:%M:%S}"),
            item.received_records,
            item.repeated,
            item.refused,
        )
        for item in found
    ]
    heading = ("inbox", "waiting", "bytes", "oldest", "received", "repeated", "refused")
    right = (False, True, True, False, True, True, True)
    for line in table(heading, rows, right=right, width=screen_width()):
        say(line)


for _verb in (serve, status):
    command.add_command(_verb)
