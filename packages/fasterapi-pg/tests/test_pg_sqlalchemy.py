"""SQLAlchemy's asyncpg dialect over this driver: a large user of asyncpg's interface."""

from __future__ import annotations

import sys
import uuid

import fasterapi_pg
import pytest

sqlalchemy = pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")


@pytest.fixture
def url(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "asyncpg", fasterapi_pg)
    return pg_dsn.replace("postgresql://", "postgresql+asyncpg://", 1)


async def test_core_and_orm(url: str) -> None:
    from sqlalchemy import ARRAY, ForeignKey, Integer, String, Uuid, select, text
    from sqlalchemy.dialects.postgresql import JSONB
    from sqlalchemy.exc import DBAPIError, IntegrityError
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship, selectinload

    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "sa_parent"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String)
        data = mapped_column(JSONB)
        numbers = mapped_column(ARRAY(Integer))
        key = mapped_column(Uuid, default=uuid.uuid4)
        children = relationship("Child")

    class Child(Base):
        __tablename__ = "sa_child"
        id = mapped_column(Integer, primary_key=True)
        parent_id = mapped_column(Integer, ForeignKey("sa_parent.id"))

    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        for i in range(5):
            parent = Parent(name=f"n{i}", data={"k": [i]}, numbers=[i, i + 1], children=[Child(), Child()])
            session.add(parent)
    async with AsyncSession(engine) as session:
        query = select(Parent).options(selectinload(Parent.children)).order_by(Parent.id)
        parents = (await session.scalars(query)).all()
        assert [(p.name, p.data, p.numbers, len(p.children)) for p in parents] == [
            (f"n{i}", {"k": [i]}, [i, i + 1], 2) for i in range(5)
        ]
        assert isinstance(parents[0].key, uuid.UUID)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="division by zero"):
            await connection.execute(text("select 1/0"))
        await connection.rollback()
        with pytest.raises(IntegrityError):
            await connection.execute(text("insert into sa_child (id, parent_id) values (1, 999999)"))
        await connection.rollback()
        stream = await connection.stream(text("select generate_series(1, 1000)"))
        assert len([row async for row in stream]) == 1000
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="SERIALIZABLE")
        assert (await connection.execute(text("show transaction_isolation"))).scalar() == "serializable"
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()
