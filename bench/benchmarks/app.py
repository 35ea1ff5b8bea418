"""What does the App do once, and what do a test's calls cost?"""

from __future__ import annotations

from fasterapi import App
from fasterapi.testclient import TestClient
from pydantic import BaseModel


class Item(BaseModel):
    id: int
    name: str
    price: float


def make() -> App:
    app = App()
    for number in range(50):

        @app.get(f"/items{number}/{{item_id}}", name=f"get{number}")
        async def get_item(item_id: int, q: str | None = None) -> Item:
            return Item(id=item_id, name=q or "", price=1.5)

        @app.post(f"/items{number}", name=f"post{number}")
        async def post_item(item: Item) -> Item:
            return item

    return app


class Declare:
    def time_100_routes(self) -> None:
        make()

    def time_openapi_of_100_routes(self) -> None:
        self.app.openapi_schema = None
        self.app.openapi()

    def setup(self) -> None:
        self.app = make()


class Client:
    def setup(self) -> None:
        self.client = TestClient(make())
        self.client.__enter__()

    def teardown(self) -> None:
        self.client.__exit__(None, None, None)

    def time_get(self) -> None:
        assert self.client.get("/items7/3?q=x").status_code == 200
