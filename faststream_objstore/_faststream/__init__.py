"""Everything that this package needs of FastStream beyond its public API.

This is the only package that imports `faststream._internal` or touches FastStream's private
attributes, so whatever a new FastStream release breaks, it breaks here.
"""

from typing import TYPE_CHECKING

from fast_depends.dependencies import Dependant
from fast_depends.library import CustomField
from faststream._internal.application import Application
from faststream._internal.context import ContextRepo
from faststream._internal.endpoint.call_wrapper import HandlerCallWrapper
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.nats.subscriber.config import NatsSubscriberSpecificationConfig
from faststream.nats.subscriber.specification import NatsSubscriberSpecification
from faststream.specification.asyncapi.utils import resolve_payloads, to_camelcase

from faststream_objstore.lazy import lazy_names

from .hook import BrokerHook, on_lifespan
from .introspection import (
    Asked,
    api_options,
    asked_of,
    brokers_of,
    connection_of,
    custom_fields,
    declared_streams,
    fake_brokers,
    is_installed,
    log_of,
    makes_objects,
)

if TYPE_CHECKING:
    from .codec import (
        Encoded,
        MessageTooLargeError,
        encode_body,
        headers_size,
        is_producer,
        publish_measured,
    )
    from .endpoints import PlainSubscriber, register
    from .processing import IdentifiedMessage
    from .publishing import addressed_captures
else:
    # For handlers of changes and for publishers, which not every service has.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Encoded": "codec",
            "IdentifiedMessage": "processing",
            "MessageTooLargeError": "codec",
            "PlainSubscriber": "endpoints",
            "addressed_captures": "publishing",
            "encode_body": "codec",
            "headers_size": "codec",
            "is_producer": "codec",
            "publish_measured": "codec",
            "register": "endpoints",
        },
    )

__all__ = (
    "Application",
    "Asked",
    "BrokerHook",
    "CallsCollection",
    "ContextRepo",
    "CustomField",
    "Dependant",
    "Encoded",
    "HandlerCallWrapper",
    "IdentifiedMessage",
    "MessageTooLargeError",
    "NatsSubscriberSpecification",
    "NatsSubscriberSpecificationConfig",
    "PlainSubscriber",
    "addressed_captures",
    "api_options",
    "asked_of",
    "brokers_of",
    "connection_of",
    "custom_fields",
    "declared_streams",
    "encode_body",
    "fake_brokers",
    "headers_size",
    "is_installed",
    "is_producer",
    "log_of",
    "makes_objects",
    "on_lifespan",
    "publish_measured",
    "register",
    "resolve_payloads",
    "to_camelcase",
)
