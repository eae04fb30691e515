"""A small photo service: pictures go into one bucket, thumbnails come out in another.

    python -m examples.gallery

starts it with a NATS server of its own; see `__main__.py`. As a service:

    NATS_URL=nats://127.0.0.1:4222 uvicorn examples.gallery.app:app
    NATS_URL=nats://127.0.0.1:4222 faststream run examples.gallery.app:app
"""

import logging
import os

from faststream.asgi import AsgiFastStream, make_ping_asgi
from faststream.nats import NatsBroker

from faststream_objstore import Buckets
from faststream_objstore.http import make_bucket_asgi, mount

from .images import FORMATS
from .live import RELOAD
from .routes import routes
from .thumbnails import LARGEST_PHOTO, live, photos, router, thumbs


def anybody(_request: object, _name: str, _method: str) -> bool:
    """There are no accounts here; a real service would check them at this point."""
    return True


def build(url: str, log_level: int = logging.INFO) -> tuple[AsgiFastStream, Buckets]:
    broker = NatsBroker(url, routers=[router], max_reconnect_attempts=-1, log_level=log_level)
    buckets = Buckets(broker, photos, thumbs)
    app = AsgiFastStream(
        broker,
        asgi_routes=[*routes(), ("/health", make_ping_asgi(broker, timeout=5))],
        lifespan=live.until_signal,
    )
    mount(
        app,
        "/photos",
        make_bucket_asgi(
            photos,
            methods=("GET", "HEAD", "PUT", "DELETE"),
            authorize=anybody,
            max_size=LARGEST_PHOTO,
            inline=tuple(FORMATS.values()),
        ),
    )
    mount(app, "/thumbs", make_bucket_asgi(thumbs, inline=("image/webp",)))
    # HTTP handlers see the app's context; this adds the buckets to it.
    buckets.install(app)

    # Browsers may connect before the broker has started, and miss what happens until then.
    @app.after_startup
    def reload() -> None:
        live.publish(RELOAD)

    return app, buckets


app, buckets = build(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")
