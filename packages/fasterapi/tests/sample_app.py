"""A rich sample application, built by either framework: the differential tests compare what the two make of it."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field


class Color(str, enum.Enum):
    red = "red"
    blue = "blue"


class Size(enum.IntEnum):
    small = 1
    large = 2


class Owner(BaseModel):
    name: str = Field(min_length=2, description="Full name")
    email: str | None = None


class Item(BaseModel):
    """An item.\f hidden part"""

    id: int
    name: str = Field(alias="itemName", max_length=10)
    price: Decimal = Decimal("1.5")
    tags: list[str] = []
    owner: Owner | None = None
    color: Color = Color.red
    made: dt.datetime | None = None


class ItemOut(BaseModel):
    id: int
    label: str = "none"
    secret: str | None = None

    @computed_field
    def double(self) -> int:
        return self.id * 2


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool = True


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, gt=0, le=100)
    offset: int = Field(0, ge=0)
    order_by: Literal["created_at", "updated_at"] = "created_at"
    tags: list[str] = []


class LoginForm(BaseModel):
    username: str
    password: str
    remember: bool = False


class Message(BaseModel):
    message: str


@dataclass
class Point:
    x: int
    y: int = 0


def build(fw: ModuleType) -> Any:
    """Return the application made with ``fw``: fastapi or fasterapi."""
    import importlib

    security = importlib.import_module(fw.__name__ + ".security")
    responses = importlib.import_module(fw.__name__ + ".responses")
    Request, Response, UploadFile = fw.Request, fw.Response, fw.UploadFile
    SecurityScopes, LoginDep = security.SecurityScopes, security.OAuth2PasswordRequestForm
    Body, Cookie, Depends, File = fw.Body, fw.Cookie, fw.Depends, fw.File
    Form, Header, Path, Query, Security = fw.Form, fw.Header, fw.Path, fw.Query, fw.Security
    app = fw.FastAPI(
        title="Sample",
        summary="A sample",
        description="All of it",
        version="2.0",
        contact={"name": "me", "url": "http://example.com/"},
        license_info={"name": "MIT"},
        terms_of_service="http://example.com/terms",
        openapi_tags=[{"name": "items", "description": "Things"}],
        servers=[{"url": "/", "description": "here"}],
    )

    @app.get("/")
    async def root():
        return {"hello": "world"}

    @app.get("/items/{item_id}", tags=["items"], response_model=ItemOut, response_model_exclude_unset=True)
    async def read_item(item_id: int, q: str | None = None, short: bool = False):
        """Read one item.

        With **markdown**.
        """
        return {"id": item_id, "label": q or "x", "secret": "s"} if not short else {"id": item_id}

    @app.post("/items", status_code=201, tags=["items"], summary="Create", response_description="Made")
    async def create_item(item: Item) -> Item:
        return item

    @app.put("/items/{item_id}")
    def put_item(
        item_id: Annotated[int, Path(ge=1, title="The ID")],
        item: Item,
        owner: Owner,
        importance: Annotated[int, Body(gt=0)],
        q: str | None = None,
    ) -> dict[str, Any]:
        return {"item_id": item_id, "item": item, "owner": owner, "importance": importance, "q": q}

    @app.patch("/embed")
    def embed(item: Annotated[Item, Body(embed=True, openapi_examples={"a": {"value": {"id": 1}}})]):
        return item

    @app.delete("/items/{item_id}", status_code=204)
    def delete_item(item_id: int) -> None:
        return None

    @app.get("/query")
    def query(
        a: Annotated[str, Query(min_length=2, max_length=5, pattern="^[a-z]+$", description="letters")],
        b: Annotated[list[int], Query(alias="bee")] = [],  # noqa: B006
        c: float = 1.5,
        d: dt.date | None = None,
        e: Color = Color.blue,
        f: uuid.UUID | None = None,
        g: Annotated[int | None, Query(deprecated=True, ge=0, lt=10)] = None,
        h: set[str] = Query(default=set()),
        i: Literal["x", "y"] = "x",
        j: int | str = 3,
        k: Annotated[str, Query(include_in_schema=False)] = "hidden",
        m: Size = Size.small,
        n: dt.timedelta | None = None,
    ):
        return [a, b, c, d, e, f, g, sorted(h), i, j, k, m, n]

    @app.get("/query-model")
    def query_model(filters: Annotated[Filters, Query()]):
        return filters

    @app.get("/headers")
    def headers(
        user_agent: Annotated[str | None, Header()] = None,
        x_token: Annotated[list[str] | None, Header()] = None,
        strange: Annotated[str | None, Header(alias="X_Strange", convert_underscores=False)] = None,
        need_int: Annotated[int, Header()] = 5,
        session: Annotated[str | None, Cookie()] = None,
        ads: int = Cookie(default=0, ge=0),
    ):
        return [x_token, strange, need_int, session, ads]

    @app.post("/form")
    def form(username: Annotated[str, Form()], password: str = Form(), age: int = Form(default=3)):
        return [username, password, age]

    @app.post("/form-model")
    def form_model(data: Annotated[LoginForm, Form()]):
        return data

    @app.post("/files")
    async def files(
        file: UploadFile,
        blob: Annotated[bytes, File(description="raw")],
        many: list[UploadFile] = File(default=[]),
        note: Annotated[str | None, Form()] = None,
    ):
        return [
            file.filename,
            file.size,
            len(blob),
            [x.filename for x in many],
            note,
            (await file.read()).decode(),
        ]

    @app.post("/pets")
    def pets(pet: Annotated[Cat | Dog, Body(discriminator="kind")]) -> Cat | Dog:
        return pet

    @app.post("/union")
    def union(thing: Owner | list[int] | None = None):
        return thing

    @app.post("/point")
    def point(point: Point) -> Point:
        return point

    @app.post("/dict")
    def dictionary(data: dict[str, int], extra: list[Item] | None = None) -> dict[str, int]:
        return data

    @app.post("/scalar")
    def scalar(value: Annotated[int, Body()]) -> int:
        return value

    @app.get("/text", response_class=responses.PlainTextResponse)
    def text():
        return "plain"

    @app.get("/html", response_class=responses.HTMLResponse, responses={200: {"description": "page"}})
    def html():
        return "<p>hi</p>"

    @app.get(
        "/more",
        responses={
            404: {"model": Message, "description": "No"},
            "4XX": {"model": Message},
            302: {"description": "m"},
        },
        openapi_extra={"x-more": {"a": 1}},
        operation_id="more_things",
        deprecated=True,
        name="more-name",
    )
    def more() -> list[ItemOut]:
        return [ItemOut(id=1), ItemOut(id=2, label="b")]

    @app.get("/redirect")
    def redirect():
        return responses.RedirectResponse("/text")

    @app.get("/response-type")
    def response_type() -> Response:
        return responses.JSONResponse({"a": None}, status_code=202, headers={"x-a": "b"})

    @app.get("/injected")
    def injected(response: Response, request: Request):
        response.headers["x-injected"] = request.url.path
        response.status_code = 203
        response.set_cookie("a", "b")
        return {"path": request.url.path, "q": dict(request.query_params)}

    oauth2 = security.OAuth2PasswordBearer(tokenUrl="token", scopes={"me": "Read me", "items": "Read items"})
    api_key = security.APIKeyHeader(name="X-Key", description="a key", auto_error=False)
    basic = security.HTTPBasic(realm="simple")
    bearer = security.HTTPBearer(bearerFormat="JWT", auto_error=False)

    def current_user(scopes: SecurityScopes, token: Annotated[str, Depends(oauth2)]):
        if token == "bad":
            raise fw.HTTPException(
                401, "Bad token", headers={"WWW-Authenticate": f'Bearer scope="{scopes.scope_str}"'}
            )
        return {"token": token, "scopes": scopes.scopes}

    def active_user(user: Annotated[dict, Security(current_user, scopes=["me"])]):
        return user

    @app.get("/me")
    def me(
        user: Annotated[dict, Security(active_user, scopes=["items"])], key: str | None = Depends(api_key)
    ):
        return [user, key]

    @app.get("/basic")
    def basic_auth(credentials: Annotated[security.HTTPBasicCredentials, Depends(basic)]):
        return credentials

    @app.get("/bearer")
    def bearer_auth(credentials: Any = Depends(bearer)):
        return credentials

    @app.post("/token")
    def token(data: Annotated[LoginDep, Depends()]):
        return [data.username, data.scopes]

    class Common:
        def __init__(self, q: str | None = None, skip: int = 0, limit: int = 100):
            self.q, self.skip, self.limit = q, skip, limit

    async def verify(x_secret: Annotated[str, Header()]):
        if x_secret != "s3cret":
            raise fw.HTTPException(status_code=400, detail={"bad": "header"})
        return x_secret

    router = fw.APIRouter(
        prefix="/users",
        tags=["users"],
        dependencies=[Depends(verify)],
        responses={404: {"description": "Not found"}},
    )

    @router.get("/", response_model=list[Owner], response_model_exclude={"email"})
    def users(commons: Annotated[Common, Depends(Common)], same: Common = Depends()):
        assert same is commons
        return [
            {"name": f"u{i}", "email": "e"} for i in range(commons.skip, min(commons.limit, commons.skip + 2))
        ]

    @router.get("/{user_id}/files/{path:path}", response_model_by_alias=False)
    def user_file(
        user_id: uuid.UUID, path: str, tags: Annotated[list[str] | None, Query()] = None
    ) -> Item | None:
        return Item(id=1, itemName=path[:10])

    outer = fw.APIRouter(prefix="/v1", tags=["v1"])
    outer.include_router(router, tags=["inner"], responses={418: {"description": "tea"}})
    app.include_router(outer, prefix="/api", deprecated=None)

    @app.api_route("/any", methods=["GET"], include_in_schema=True)
    def any_method():
        return None

    @app.get("/hidden", include_in_schema=False)
    def hidden():
        return 1

    return app
