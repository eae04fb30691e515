"""The parts of a broker, its handlers and its producers."""
# ruff: noqa: SLF001 - that is what this package is for

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints

from fast_depends.core import CallModel
from fast_depends.library import CustomField
from faststream._internal.application import StartAbleApplication
from faststream._internal.constants import PATH_CONTEXT_PREFIX
from faststream._internal.context import Context as ContextField
from faststream._internal.logger.logger_proxy import RealLoggerObject
from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore._faststream.dry_run import dry_run_of, fake_producer

__all__ = (
    "Asked",
    "api_options",
    "asked_of",
    "brokers_of",
    "connection_of",
    "custom_fields",
    "declared_streams",
    "fake_brokers",
    "is_installed",
    "log_of",
    "makes_objects",
    "required_captures",
)

_logger = logging.getLogger("faststream_objstore")


def connection_of(broker: NatsBroker) -> object | None:
    """This task's connection of the broker: a NATS client, a fake producer, or nothing."""
    if (dry_run := dry_run_of(broker)) is not None:
        return dry_run.fake
    client = broker._connection
    return client if isinstance(client, Client) else fake_producer(broker)


def brokers_of(app: object) -> list[NatsBroker]:
    """The NATS brokers of an app; none if it is not FastStream's app."""
    if not isinstance(app, StartAbleApplication):
        return []
    return [broker for broker in app.brokers if isinstance(broker, NatsBroker)]


def fake_brokers(producer: Any) -> Sequence[NatsBroker]:
    """The brokers that were entered together with a test's fake producer."""
    brokers: Sequence[NatsBroker] = producer.brokers
    return brokers


def is_installed(producer: Any) -> bool:
    """Whether a test's fake producer is in use."""
    broker: NatsBroker = producer.broker
    dry_run = dry_run_of(broker)
    if dry_run is not None and dry_run.fake is producer:
        return True
    installed: bool = broker.config.broker_config.producer is producer
    return installed


def api_options(broker: NatsBroker) -> tuple[str, float | None]:
    """The prefix of the JetStream API, and the timeout, of the broker's `js_options`."""
    options = dict(broker.config.broker_config.js_options)
    domain = options.get("domain")
    prefix = f"$JS.{domain}.API" if domain else options.get("prefix")
    timeout = options.get("timeout")
    return str(prefix or "$JS.API"), float(str(timeout)) if timeout else None


def declared_streams(broker: NatsBroker) -> list[str]:
    """The streams that FastStream would create or reconfigure when the broker starts."""
    return [
        stream.name for stream, _ in broker._stream_builder.objects.values() if stream.declare
    ]


def custom_fields(broker: NatsBroker) -> list[tuple[str, CustomField]]:
    """The metadata of the handlers' `Annotated` parameters, and of all their dependencies.

    Each item comes with the name of its handler.
    """
    found: list[tuple[str, CustomField]] = []
    for subscriber in broker.subscribers:
        if any(call.dependant is None for call in subscriber.calls):
            subscriber._build_fastdepends_model()
        for call in subscriber.calls:
            found += [(call.name, field) for _, field in _fields_of(call.dependant)]
    return found


class Asked(NamedTuple):
    """A parameter of a handler, or of one of its dependencies.

    Attributes:
        subscriber: The handler's subscriber.
        call: The handler as the subscriber keeps it.
        is_parsed: Whether its messages pass through a user's own parser.
        owner: The function that has the parameter.
        parameter: Its name.
        annotation: Its annotation, including the metadata of `Annotated`.
        default: Its default; `inspect.Parameter.empty` without one.
        field: The FastDepends field that fills it, if any.
        is_body: Whether it is taken from the message's body.
    """

    subscriber: Any
    call: Any
    is_parsed: bool
    owner: Any
    parameter: str
    annotation: Any
    default: Any
    field: CustomField | None
    is_body: bool

    @property
    def where(self) -> str:
        """Its location, for error messages."""
        owner = getattr(self.owner, "__name__", type(self.owner).__name__)
        of = "" if owner == self.call.name else f" (for {self.call.name})"
        return f"{owner}(){of}, parameter {self.parameter!r}"


def asked_of(broker: NatsBroker) -> list[Asked]:
    """The parameters of a broker's handlers and of their dependencies."""
    found: list[Asked] = []
    parsed = broker.config.broker_parser is not None
    for subscriber in broker.subscribers:
        if any(call.dependant is None for call in subscriber.calls):
            subscriber._build_fastdepends_model()
        for call in subscriber.calls:
            is_parsed = (
                call.item_parser is not None
                or call.item_decoder is not None
                or subscriber._call_options.parser is not None
                or (parsed and not hasattr(subscriber, "captures"))
            )
            for model in _models_of(call.dependant):
                body = {one.field_name for one in model.params}
                hints = _hints_of(model.call)
                for name, one in _parameters_of(model.call).items():
                    field = model.custom_fields.get(name)
                    if field is None and name not in body:
                        continue
                    found.append(
                        Asked(
                            subscriber,
                            call,
                            is_parsed,
                            model.call,
                            name,
                            hints.get(name, Any),
                            one.default,
                            field,
                            is_body=field is None,
                        )
                    )
    return found


def _parameters_of(call: Any) -> Mapping[str, inspect.Parameter]:
    return {
        name: one
        for name, one in inspect.signature(call).parameters.items()
        if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}
    }


def _hints_of(call: Any) -> dict[str, Any]:
    call = inspect.unwrap(call)
    try:
        return get_type_hints(call, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # Names that are only known where the function was defined.
        return {}


def makes_objects(broker: NatsBroker) -> bool:
    """Whether a handler of the broker has publishers of objects."""
    return any(
        getattr(publisher, "stores_objects", False)
        for subscriber in broker.subscribers
        for call in subscriber.calls
        for publisher in call.handler._publishers
    )


def _fields_of(model: Any) -> list[tuple[CallModel, CustomField]]:
    return [(one, field) for one in _models_of(model) for field in one.custom_fields.values()]


def _models_of(model: Any) -> list[CallModel]:
    """The model of a handler, and those of its dependencies."""
    found: list[CallModel] = []
    known: set[int] = set()

    def walk(model: Any) -> None:
        # FastAPI's routers have different models.
        if not isinstance(model, CallModel) or id(model) in known:
            return
        known.add(id(model))
        found.append(model)
        for key in (*model.dependencies.values(), *model.extra_dependencies):
            walk(model.dependency_provider.get_dependant(key))

    walk(model)
    return found


def required_captures(model: Any) -> list[str]:
    """The names of the `Path()` values that a handler requires."""
    names: list[str] = []
    for owner, field in _fields_of(model):
        if not isinstance(field, ContextField) or not field.required or field.initial:
            continue
        key = f"{field.prefix}{field.name or field.param_name}"
        if not key.startswith(PATH_CONTEXT_PREFIX):
            continue
        parameter = inspect.signature(owner.call).parameters.get(field.param_name)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        if default is inspect.Parameter.empty or isinstance(default, CustomField):
            names.append(key.removeprefix(PATH_CONTEXT_PREFIX).partition(".")[0])
    return names


def log_of(broker: NatsBroker) -> Callable[[int, str, BaseException | None], None]:
    """Logs with the broker's logger; with the package's if it has none, and in test mode.

    Called with a level, a text, and an optional error whose traceback is logged.
    """

    def log(level: int, text: str, error: BaseException | None = None) -> None:
        logger = broker.config.logger
        # `TestNatsBroker` replaces a logger that is not set up by a mock.
        live = isinstance(connection_of(broker), Client)
        if live and isinstance(logger.logger, RealLoggerObject):
            logger.log(text, level, exc_info=error)
        else:
            _logger.log(level, "%s", text, exc_info=error)

    return log
