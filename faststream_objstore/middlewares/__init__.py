"""Middlewares for FastStream brokers that use a bucket."""

from faststream_objstore.middlewares.claim_check import ClaimCheckMiddleware

__all__ = ("ClaimCheckMiddleware",)
