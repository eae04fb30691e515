"""The name of a result: text that is filled in with the message's `Path()` values."""

from collections.abc import Mapping

from faststream_objstore.exceptions import InvalidObjectNameError, InvalidPatternError
from faststream_objstore.template import NameTemplate, UnfilledError

__all__ = ("ResultName",)


class ResultName(NameTemplate):
    """The template of the names of a publisher's results.

    Args:
        bucket: The bucket of the results.
        text: The template.

    Raises:
        InvalidPatternError: If the text is not a template.
        InvalidObjectNameError: If it cannot produce a valid name.
    """

    __slots__ = ()

    def __init__(self, bucket: str, text: str) -> None:
        if callable(text):
            msg = (
                f"Bucket '{bucket}': publisher is called before it decorates; write "
                '@bucket.publisher("{name}").'
            )
            raise InvalidPatternError(msg, bucket=bucket)
        super().__init__(bucket, text, f"Bucket '{bucket}', publisher({text!r})")

    def fill(self, values: Mapping[str, object]) -> str:
        """The name with the values of one message.

        Raises:
            InvalidObjectNameError: If a value is missing.
        """
        try:
            return super().fill(values)
        except UnfilledError as error:
            remedy = "return ObjectResponse(body, name=...), or pass name=... to publish()"
            msg = f"{error}; {remedy}."
            raise InvalidObjectNameError(msg, bucket=self.bucket) from None
