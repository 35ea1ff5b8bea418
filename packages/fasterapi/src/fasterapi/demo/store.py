"""A store: products and orders over HTTP, the same operations as MCP tools on /mcp, one process.

python app.py, with the database in STORE_DSN; then http://127.0.0.1:8000/docs
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fasterapi import App, HTTPException, Query
from fasterapi.pg import PgPool
from fasterapi.responses import StreamingResponse
from pydantic import BaseModel, Field

pg = PgPool(os.environ.get("STORE_DSN"), min_size=1, max_size=8)


class ProductIn(BaseModel):
    name: str = Field(min_length=1, max_length=80)
    price_cents: int = Field(ge=0)
    stock: int = Field(default=0, ge=0)


class Product(ProductIn):
    id: int


class ProductPage(BaseModel):
    items: list[Product]
    page: int
    total: int


class Line(BaseModel):
    product_id: int
    quantity: int = Field(ge=1, le=1000)


class Order(BaseModel):
    id: int
    customer: str
    total_cents: int
    lines: list[Line]


class OrderIn(BaseModel):
    customer: str = Field(min_length=1)
    lines: list[Line] = Field(min_length=1)


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    async with pg.acquire() as connection:
        await connection.execute("""
            create table if not exists product (id serial primary key, name text not null,
                price_cents int not null, stock int not null);
            create table if not exists customer_order (id serial primary key, customer text not null,
                total_cents int not null, placed timestamptz not null default now());
            create table if not exists order_line (order_id int not null references customer_order,
                product_id int not null, quantity int not null);
            create index if not exists order_line_order on order_line (order_id)""")
    yield
    await pg.close()


app = App(title="Store", version="1.0", lifespan=lifespan)


@app.post("/products", status_code=201)
async def create_product(product: ProductIn) -> Product:
    sql = "insert into product (name, price_cents, stock) values ($1, $2, $3) returning *"
    result = await pg.exec_async(sql, product.name, product.price_cents, product.stock)
    return result.into(Product).one()


@app.get("/products", tool=True)
async def search_products(
    q: str = "", page: int = Query(1, ge=1), size: int = Query(20, ge=1, le=100)
) -> ProductPage:
    """Find products by a part of their name."""
    rows = await pg.fetch(
        "select *, count(*) over () as total from product where name ilike $1 order by id limit $2 offset $3",
        f"%{q}%", size, (page - 1) * size,
    )  # fmt: skip
    items = [Product(**row) for row in rows]
    return ProductPage(items=items, page=page, total=rows[0]["total"] if rows else 0)


@app.get("/products/{product_id}", tool=True)
async def get_product(product_id: int) -> Product:
    """One product by its number."""
    row = await pg.fetchrow("select * from product where id = $1", product_id)
    if row is None:
        raise HTTPException(404, "no such product")
    return Product(**row)


@app.put("/products/{product_id}")
async def replace_product(product_id: int, product: ProductIn) -> Product:
    sql = "update product set name = $2, price_cents = $3, stock = $4 where id = $1 returning *"
    row = await pg.fetchrow(sql, product_id, product.name, product.price_cents, product.stock)
    if row is None:
        raise HTTPException(404, "no such product")
    return Product(**row)


@app.delete("/products/{product_id}", status_code=204)
async def delete_product(product_id: int) -> None:
    if await pg.execute("delete from product where id = $1", product_id) == "DELETE 0":
        raise HTTPException(404, "no such product")


@app.post("/orders", status_code=201, tool=True)
async def place_order(order: OrderIn) -> Order:
    """Order products for a customer: all lines or none."""
    async with pg.tx() as tx:
        total = 0
        for line in sorted(order.lines, key=lambda line: line.product_id):  # one order of locks: no deadlocks
            sql = "update product set stock = stock - $2 where id = $1 and stock >= $2 returning price_cents"
            price = await tx.fetchval(sql, line.product_id, line.quantity)
            if price is None:
                raise HTTPException(409, f"product {line.product_id}: fewer than {line.quantity} in stock")
            total += price * line.quantity
        sql = "insert into customer_order (customer, total_cents) values ($1, $2) returning id"
        order_id = await tx.fetchval(sql, order.customer, total)
        sql = "insert into order_line (order_id, product_id, quantity) values ($1, $2, $3)"
        await tx.executemany(sql, [(order_id, line.product_id, line.quantity) for line in order.lines])
    return Order(id=order_id, customer=order.customer, total_cents=total, lines=order.lines)


@app.get("/orders/{order_id}")
async def get_order(order_id: int) -> Order:
    order = await pg.fetchrow("select id, customer, total_cents from customer_order where id = $1", order_id)
    if order is None:
        raise HTTPException(404, "no such order")
    lines = await pg.fetch("select product_id, quantity from order_line where order_id = $1", order_id)
    return Order(**order, lines=[Line(**line) for line in lines])


@app.get("/report.csv")
async def report() -> StreamingResponse:
    """What each product sold, sent while it is read: memory does not grow with the table."""

    async def rows() -> AsyncIterator[str]:
        yield "product,pieces,cents\n"
        async with pg.acquire() as connection, connection.transaction(readonly=True):
            sql = """select p.id, coalesce(sum(l.quantity), 0) as pieces,
                            coalesce(sum(l.quantity), 0) * p.price_cents as cents
                     from product p left join order_line l on l.product_id = p.id group by p.id order by p.id"""
            async for row in connection.cursor(sql, prefetch=200):
                yield f"{row['id']},{row['pieces']},{row['cents']}\n"

    return StreamingResponse(rows(), media_type="text/csv")


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), access_log=False)
