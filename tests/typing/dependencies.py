"""Parameters have the type that their annotation names first, whatever marks them."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from faststream import Context, Depends, Path
from faststream.nats import NatsBroker
from typing_extensions import assert_type

from faststream_objstore import (
    Bucket,
    FromBucket,
    FromObject,
    LiveObject,
    ObjectData,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    OpenObject,
    StatObject,
)

photos = Bucket("photos")
broker = NatsBroker()


@dataclass
class Model:
    weights: list[float]


def parse(data: ObjectData) -> Model:
    return Model(json.loads(data))


async def parse_async(data: ObjectData) -> Model:
    return parse(data)


Photos = Annotated[ObjectStore, FromBucket("photos")]
Churn = Annotated[Model, LiveObject("models", "churn.json", load=parse)]


def template(
    html: Annotated[str, FromObject("templates", "{kind}.html", decode=True, default="")],
) -> str:
    assert_type(html, str)
    return html


@photos.on_put("{user}/*.png")
async def resize(
    info: ObjectInfo,
    user: Annotated[str, Path()],
    image: Annotated[bytes, FromObject(max_size=10_000_000)],
    versioned: Annotated[ObjectData, FromObject()],
    reader: Annotated[ObjectReader, OpenObject()],
    again: Annotated[ObjectInfo, StatObject()],
    source: Photos,
    target: Annotated[ObjectStore, FromBucket(photos)],
    contextual: Annotated[ObjectStore, Context("photos")],
) -> None:
    assert_type(info, ObjectInfo)
    assert_type(user, str)
    assert_type(image, bytes)
    assert_type(versioned, ObjectData)
    assert_type(versioned.info, ObjectInfo)
    assert_type(await reader.read(), bytes)
    assert_type(again, ObjectInfo)
    assert_type(await source.get(info), ObjectData)
    assert_type(await target.put(info.name, image), ObjectInfo)
    assert_type(contextual, ObjectStore)


@broker.subscriber("predict.{kind}")
async def predict(
    body: str,
    model: Churn,
    maybe: Annotated[Model | None, LiveObject(photos, "a", load=parse_async, required=False)],
    raw: Annotated[ObjectData, LiveObject("models", "raw")],
    text: Annotated[str, Depends(template)],
    info: Annotated[ObjectInfo | None, StatObject(photos, "{kind}", default=None)],
    opened: Annotated[
        ObjectReader | None, OpenObject("photos", "{kind}", default=None, max_size=10)
    ],
) -> float:
    assert_type(model, Model)
    assert_type(maybe, Model | None)
    assert_type(raw, ObjectData)
    assert_type(text, str)
    assert_type(info, ObjectInfo | None)
    assert_type(opened, ObjectReader | None)
    return model.weights[0]


async def calls(model: Model, data: ObjectData) -> None:
    assert_type(await predict("a", model, None, data, "text", None, None), float)


def load_nothing() -> None: ...


def load_text(data: str) -> None: ...


# `Depends(...)` is of no type of its own.
opening: Any = OpenObject()

FromBucket()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
FromBucket(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FromObject(1, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FromObject("a", "b", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
FromObject("a", "b", max_size="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FromObject("a", "b", decode="utf-8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatObject("a", "b", max_size=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
OpenObject("a", "b", decode=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
LiveObject("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
LiveObject("a", "b", parse)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
LiveObject("a", "b", load=load_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
LiveObject("a", "b", load=load_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
