"""Why something broke off, told whole."""

from collections.abc import Iterator


def causes(why: BaseException) -> Iterator[str]:
    """What went wrong first comes first: what fails while a scene is cleared away hides nothing."""
    if before := why.__cause__ or why.__context__:
        yield from causes(before)
    if isinstance(why, BaseExceptionGroup):
        for one in why.exceptions:
            yield from causes(one)
    else:
        yield f"{type(why).__name__}: {why}"
