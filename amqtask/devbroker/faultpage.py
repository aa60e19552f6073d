from typing import Any


class FaultPage:
    port = 0

    @classmethod
    async def serve(cls, server: Any, port: int) -> "FaultPage":
        return cls()

    async def close(self) -> None: ...
