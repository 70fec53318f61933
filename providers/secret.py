"""A value that shows itself to nobody who does not ask for it by name."""

from hmac import compare_digest
from typing import Any, NoReturn, Self, SupportsIndex


class Secret:
    """A text that no repr, format, JSON, pickle, `vars` or copy of it gives away."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The text itself."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({len(self.__value)} chars)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __len__(self) -> int:
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = self.__value, other.__value
        return compare_digest(
            mine.encode("utf-8", "surrogatepass"), theirs.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("A secret is not to be pickled.")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("A secret is not to be pickled.")
