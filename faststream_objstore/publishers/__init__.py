"""Results as objects: what handlers return is stored in a bucket."""

from faststream_objstore.publishers.publisher import ObjectPublisher
from faststream_objstore.publishers.response import ObjectPublishCommand, ObjectResponse

__all__ = ("ObjectPublishCommand", "ObjectPublisher", "ObjectResponse")
