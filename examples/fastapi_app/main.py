"""The service: `uvicorn examples.fastapi_app.main:api`. No handler waits for the broker in a blocking way."""

from fastapi import FastAPI
from pydantic import BaseModel

from amqtask import chord
from examples.fastapi_app.tasks import add, app, total

api = FastAPI()


class Sum(BaseModel):
    """What is to be added."""

    a: int
    b: int


@api.post("/sums", status_code=202)
async def begin(numbers: Sum) -> dict[str, str]:
    """Have it added, and say by which id to ask for it."""
    result = await add.adelay(numbers.a, numbers.b)
    return {"id": result.id}


@api.get("/sums/{id}")
async def end(id: str) -> dict[str, int]:  # noqa: A002 - the name in the path
    """What it is, as soon as that is known."""
    return {"sum": await app.AsyncResult(id).aget(timeout=30)}


@api.get("/squares/{count}")
async def squares(count: int) -> dict[str, int]:
    """A chord, sent and awaited."""
    result = await chord([add.s(n * n, 0) for n in range(count)], total.s()).adelay()
    return {"sum": await result.aget(timeout=30)}
