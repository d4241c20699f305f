"""What the stand-in Linear answers when it cannot do what was asked."""

from graphql import GraphQLError


class InputError(GraphQLError):
    """The request is understood and refused; Linear marks it INPUT_ERROR."""

    def __init__(self, message: str, presentable: str | None = None) -> None:
        super().__init__(
            message,
            extensions={
                "type": "invalid input",
                "code": "INPUT_ERROR",
                "statusCode": 400,
                "userError": True,
                "userPresentableMessage": presentable or message,
            },
        )


def not_found(entity: str) -> InputError:
    """The error for an id that names nothing."""
    return InputError(f"Entity not found: {entity}", f"Could not find referenced {entity}.")
