"""Logs: one JSON object a line for machines, or aligned text for people; always to standard error."""

import logging
import sys
from typing import Final

import msgspec
import structlog
from structlog.typing import Processor

from impl.config import LoggingSettings

FORMATS: Final = ("human", "json")


def set_up(settings: LoggingSettings, node_id: str) -> structlog.stdlib.BoundLogger:
    """Send everything that is logged in this process, also by libraries, through one formatter.

    Returns the node's own logger; its lines carry the node id.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _of_node(node_id),
    ]
    if settings.format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: Processor = structlog.processors.JSONRenderer(serializer=_json)
    else:
        # plain: the pretty ones print local variables, and a secret may be among them
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("amberio")
    return logger


def _json(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _of_node(node_id: str) -> Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("node", node_id)
        return event

    return add
