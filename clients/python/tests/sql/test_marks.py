"""What a session changes is marked in the same transaction: no change without a mark, no mark without a change."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.attributes import flag_modified
from sqlalchemy.orm.exc import StaleDataError

from dirty_streams.sqlalchemy import UnmarkedError

from .models import (
    Base,
    Book,
    Car,
    Colour,
    Employee,
    Engineer,
    Invoice,
    Line,
    Manager,
    Member,
    Order,
    Shelf,
    Tag,
    Thing,
    User,
    Vehicle,
    marked,
    marks,
    order_tags,
)

Marked = set[tuple[str, Any]]
Case = tuple[str, Callable[[Session], Any], Marked]
users = Base.metadata.tables["users"]
CASES: list[Case] = []


def case(*expected: tuple[str, Any]) -> Callable[[Callable[[Session], Any]], None]:
    """A case: what a function changes in the committed rows of `begun`, and the marks that this leaves."""

    def add(action: Callable[[Session], Any]) -> None:
        CASES.append((action.__name__, action, set(expected)))

    return add


def begun(session: Session) -> None:
    """Alice, Bob, Carol, …: the rows before each case."""
    for number, name in enumerate(["Alice", "Bob", "Carol"], 1):
        session.add(
            User(id=number, name=name, email=f"{name.lower()}@example.com", age=30 + number)
        )
    session.flush()
    session.add_all([Invoice(id=1, user_id=1), Invoice(id=2, user_id=2)])
    session.add_all([Member(tenant=1, number=2), Member(tenant=1, number=3)])
    session.add_all([Employee(id=1), Manager(id=2), Engineer(id=3)])
    session.add_all([Vehicle(id=1), Car(id=2, doors=4)])
    session.add_all(
        [Order(id=1, lines=[Line(id=1), Line(id=2)]), Order(id=2, lines=[Line(id=3)]), Tag(id=1)]
    )
    session.add_all([Shelf(id=1, books=[Book(id=1)]), Shelf(id=2), Book(id=2)])
    session.commit()
    session.execute(delete(marks.table))
    session.commit()


@case(("user", 9))
def an_insert(session: Session) -> None:
    session.add(User(id=9))


@case(("user", 1))
def an_update(session: Session) -> None:
    session.get_one(User, 1).name = "Alicia"


@case(("invoice", 1))
def a_delete(session: Session) -> None:
    session.delete(session.get_one(Invoice, 1))


@case()
def an_update_to_the_same_value(session: Session) -> None:
    user = session.get_one(User, 1)
    user.name = str(user.name)


@case(("user", 1))
def a_change_within_json_that_is_flagged(session: Session) -> None:
    user = session.get_one(User, 1)
    user.settings = {"a": 1}
    session.flush()
    user.settings["a"] = 2
    flag_modified(user, "settings")


@case(("invoice", 9))
def a_collection_that_is_no_part_of_its_entity(session: Session) -> None:
    user = session.get_one(User, 1)
    user.invoices.append(Invoice(id=9))


@case(("user", 1))
def an_update_of_an_expired_object(session: Session) -> None:
    user = session.get_one(User, 1)
    session.commit()
    assert "name" not in user.__dict__
    user.name = "Alicia"


@case(("invoice", 1))
def a_delete_of_an_expired_object(session: Session) -> None:
    invoice = session.get_one(Invoice, 1)
    session.commit()
    session.delete(invoice)


@case(("user", 1), ("user", 2))
def a_detached_object_is_merged(session: Session) -> None:
    session.merge(User(id=1, name="Alicia"))
    session.merge(User(id=2, name="Bobby"))
    session.merge(User(id=3, name="Carol", email="carol@example.com", age=33))


@case(("user", 3), ("user", 7))
def a_primary_key_is_renamed(session: Session) -> None:
    session.get_one(User, 3).id = 7


@case(("user", 3), ("user", 7))
def a_primary_key_of_an_expired_object_is_renamed(session: Session) -> None:
    user = session.get_one(User, 3)
    session.commit()
    user.id = 7


@case(("member", (1, 2)), ("member", (2, 2)))
def a_part_of_a_composite_key_is_renamed(session: Session) -> None:
    session.get_one(Member, (1, 2)).tenant = 2


@case(("invoice", 1))
def a_row_is_deleted_and_inserted_again(session: Session) -> None:
    session.delete(session.get_one(Invoice, 1))
    session.flush()
    session.add(Invoice(id=1, user_id=1))


@case(("user", 8))
def an_insert_whose_key_the_database_gives(session: Session) -> None:
    session.execute(update(users).where(users.c.id == 0).values(name=""))  # no row
    session.add(User(id=8))


@case()
def a_rollback(session: Session) -> None:
    session.get_one(User, 1).name = "Nobody"
    session.flush()
    session.rollback()


@case(("user", 1))
def a_savepoint_that_is_released(session: Session) -> None:
    with session.begin_nested():
        session.get_one(User, 1).name = "Alicia"


@case(("user", 1), ("user", 2))
def a_savepoint_that_is_rolled_back_between_two_changes(session: Session) -> None:
    session.get_one(User, 1).name = "Alicia"
    session.flush()
    savepoint = session.begin_nested()
    session.get_one(User, 3).name = "Nobody"
    session.execute(update(User).where(User.id == 3).values(age=0))
    session.flush()
    savepoint.rollback()
    session.get_one(User, 2).name = "Bobby"


@case(("user", 1), ("user", 3))
def a_savepoint_within_one_that_is_rolled_back(session: Session) -> None:
    with session.begin_nested():
        session.get_one(User, 1).name = "Alicia"
        with contextlib.suppress(ZeroDivisionError), session.begin_nested():
            session.get_one(User, 2).name = "Nobody"
            session.flush()
            raise ZeroDivisionError
        session.get_one(User, 3).name = "Carola"


@case(("user", 2))
def a_flush_that_fails_in_a_savepoint(session: Session) -> None:
    with contextlib.suppress(IntegrityError), session.begin_nested():
        session.add(User(id=9, email="bob@example.com"))
        session.get_one(User, 1).name = "Nobody"
    session.get_one(User, 2).name = "Bobby"


@case(("user", 2))
def a_flush_that_fails_and_a_transaction_behind_it(session: Session) -> None:
    session.get_one(User, 1).name = "Nobody"
    session.add(User(id=9, email="bob@example.com"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    session.get_one(User, 2).name = "Bobby"


@case(("invoice", 2))
def a_stale_version_refuses_the_flush(session: Session) -> None:
    invoice = session.get_one(Invoice, 1)
    session.execute(
        update(Invoice).where(Invoice.id == 1).values(revision=7),
        execution_options=NOT_SYNCHRONIZED,
    )
    invoice.state = "paid"
    with pytest.raises(StaleDataError):
        session.commit()
    session.rollback()
    session.get_one(Invoice, 2).state = "paid"


NOT_SYNCHRONIZED = {"synchronize_session": False}


# Bulk statements. Each returns what it would return without marks.


@case(("user", 1), ("user", 2))
def a_bulk_update(session: Session) -> None:
    result: Any = session.execute(update(User).where(User.id < 3).values(age=User.age + 1))
    assert result.rowcount == 2


@case(("user", 1), ("user", 2))
def a_bulk_update_whose_rows_no_longer_match_behind_it(session: Session) -> None:
    session.execute(update(User).where(User.age < 33).values(age=99))


@case()
def a_bulk_update_of_no_row(session: Session) -> None:
    result: Any = session.execute(update(User).where(User.id > 100).values(age=0))
    assert result.rowcount == 0


@case(("user", 1), ("user", 2))
def a_bulk_update_that_objects_follow(session: Session) -> None:
    alice = session.get_one(User, 1)
    for strategy in ("evaluate", "fetch", "auto"):
        options = {"synchronize_session": strategy}
        session.execute(
            update(User).where(User.id < 3).values(name=strategy), execution_options=options
        )
        assert alice.name == strategy


@case(("user", 1), ("user", 2))
def a_bulk_update_that_returns_columns(session: Session) -> None:
    statement = update(User).where(User.id < 3).values(name="x").returning(User.name, User.age)
    result = session.execute(statement)
    assert list(result.keys()) == ["name", "age"]
    assert sorted(result.all()) == [("x", 31), ("x", 32)]


@case(("user", 1))
def a_bulk_update_that_returns_objects(session: Session) -> None:
    alice = session.get_one(User, 1)
    found = session.scalars(update(User).where(User.id == 1).values(name="x").returning(User)).all()
    assert found == [alice]
    assert alice.name == "x"


@case(("user", 1), ("user", 3))
def a_bulk_update_by_primary_keys(session: Session) -> None:
    session.execute(update(User), [{"id": 1, "name": "x"}, {"id": 3, "name": "y"}])


@case(("invoice", 1))
def a_bulk_delete(session: Session) -> None:
    result: Any = session.execute(delete(Invoice).where(Invoice.user_id == 1))
    assert result.rowcount == 1


@case(("invoice", 1), ("invoice", 2))
def a_bulk_delete_that_returns_columns(session: Session) -> None:
    states = session.execute(delete(Invoice).returning(Invoice.state)).scalars().all()
    assert states == ["new", "new"]


@case(("invoice", 1), ("invoice", 2))
def a_query_that_updates(session: Session) -> None:
    assert session.query(Invoice).filter(Invoice.id > 0).update({"state": "paid"}) == 2


@case(("invoice", 2))
def a_query_that_deletes(session: Session) -> None:
    assert session.query(Invoice).filter_by(id=2).delete() == 1


@case(("invoice", 1))
def a_bulk_delete_that_joins(session: Session) -> None:
    session.execute(
        delete(Invoice).where(Invoice.user_id.in_(select(User.id).where(User.name == "Alice"))),
        execution_options={"synchronize_session": "fetch"},
    )


@case(("member", (1, 2)), ("member", (1, 3)))
def a_bulk_update_of_composite_keys(session: Session) -> None:
    session.execute(update(Member).values(name="x"))


@case(("user", 9))
def a_bulk_insert_of_values(session: Session) -> None:
    result: Any = session.execute(insert(User).values(id=9, name="x"))
    assert result.inserted_primary_key == (9,)


@case(("user", 8), ("user", 9))
def a_bulk_insert_of_several_values(session: Session) -> None:
    result: Any = session.execute(
        insert(User).values([{"id": 8, "name": "x"}, {"id": 9, "name": "y"}])
    )
    assert result.rowcount == 2
    assert not result.returns_rows if hasattr(result, "returns_rows") else True


@case(("user", 7), ("user", 8), ("user", 9))
def a_bulk_insert_of_a_list(session: Session) -> None:
    session.execute(insert(User), [{"id": 8, "name": "x"}, {"id": 9, "name": "y", "age": 3}])
    session.execute(insert(User), {"id": 7, "name": "z"})


@case(("user", 8), ("user", 9))
def a_bulk_insert_that_returns_objects(session: Session) -> None:
    found = session.scalars(
        insert(User).returning(User), [{"id": 8, "name": "x"}, {"id": 9, "name": "y"}]
    ).all()
    assert sorted(user.name for user in found) == ["x", "y"]


@case(("user", 11), ("user", 12), ("user", 13))
def a_bulk_insert_from_a_select(session: Session) -> None:
    result: Any = session.execute(
        insert(User).from_select(["id", "name"], select(User.id + 10, User.name))
    )
    assert result.rowcount == 3


@case(("user", 2), ("user", 9))
def an_upsert_that_meets_another_row_than_its_key_says(session: Session) -> None:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for number, email in ((9, "new@example.com"), (8, "bob@example.com")):
        statement = dialect.insert(User).values(id=number, name="x", email=email)
        result: Any = session.execute(
            statement.on_conflict_do_update(index_elements=["email"], set_={"name": "y"})
        )
        assert result.rowcount == 1


@case(("user", 9))
def an_upsert_that_does_nothing(session: Session) -> None:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    rows = [
        {"id": 9, "name": "x", "email": "new@example.com"},
        {"id": 8, "name": "x", "email": "bob@example.com"},
    ]
    result: Any = session.execute(dialect.insert(User).values(rows).on_conflict_do_nothing())
    assert result.rowcount == 1


# Core statements through the session.


@case(("user", 1), ("user", 2), ("user", 3))
def a_core_update(session: Session) -> None:
    result: Any = session.execute(users.update().values(name="x"))
    assert result.rowcount == 3


@case(("user", 3))
def a_core_delete(session: Session) -> None:
    result: Any = session.execute(users.delete().where(users.c.id == 3))
    assert result.rowcount == 1


@case(("user", 3))
def a_core_delete_with_columns_of_the_class(session: Session) -> None:
    session.execute(delete(users).where(User.id == 3))


@case(("user", 7), ("user", 8), ("user", 9))
def core_inserts(session: Session) -> None:
    assert session.execute(users.insert().values(id=7, name="x")).inserted_primary_key == (7,)  # type: ignore[attr-defined]
    result: Any = session.execute(users.insert(), [{"id": 8, "name": "x"}, {"id": 9, "name": "y"}])
    assert result.rowcount == 2


@case(("user", 1))
def a_core_update_that_returns_columns(session: Session) -> None:
    found = session.execute(
        users.update().where(users.c.id == 1).values(age=1).returning(users.c.name, users.c.age)
    )
    assert found.all() == [("Alice", 1)]


@case(("user", 2))
def a_statement_of_text_that_is_marked_by_hand(session: Session) -> None:
    session.execute(
        text("UPDATE users SET age = 1 WHERE id = 2"), execution_options={"dirty_marks": False}
    )
    marks.mark(session, User, 2)


# Inheritance.


@case(("employee", 2), ("engineer", 3))
def changes_of_subclasses_with_tables(session: Session) -> None:
    session.get_one(Manager, 2).budget = 5
    session.get_one(Engineer, 3).language = "C"


@case(("employee", 8), ("engineer", 9))
def inserts_of_subclasses_with_tables(session: Session) -> None:
    session.add_all([Manager(id=8), Engineer(id=9)])


@case(("employee", 2), ("engineer", 3))
def deletes_of_subclasses_with_tables(session: Session) -> None:
    session.delete(session.get_one(Employee, 2))
    session.delete(session.get_one(Employee, 3))


@case(("employee", 2))
def a_bulk_update_of_a_subclass_with_a_table(session: Session) -> None:
    session.execute(update(Manager).values(budget=9))


@case(("employee", 3), ("engineer", 3))  # only the row tells which of the two it is
def a_bulk_update_of_a_base_class(session: Session) -> None:
    session.execute(update(Employee).where(Employee.id == 3).values(name="x"))


@case(("employee", 8), ("employee", 9))
def a_bulk_insert_of_a_subclass_with_a_table(session: Session) -> None:
    session.execute(insert(Manager), [{"id": 8, "budget": 1}, {"id": 9, "budget": 2}])


@case(("vehicle", 2), ("vehicle", 3))
def changes_of_a_subclass_without_a_table(session: Session) -> None:
    session.get_one(Car, 2).doors = 2
    session.add(Car(id=3))


@case(("vehicle", 2))
def a_bulk_update_of_a_subclass_without_a_table(session: Session) -> None:
    session.execute(update(Car).values(doors=5))


# Relationships and parts.


@case(("order", 1))
def a_part_is_changed(session: Session) -> None:
    session.get_one(Line, 1).amount = 5


@case(("order", 1))
def a_part_is_added(session: Session) -> None:
    order = session.get_one(Order, 1)
    order.lines.append(Line(id=9))


@case(("order", 1))
def a_part_is_removed(session: Session) -> None:
    order = session.get_one(Order, 1)
    order.lines.pop()


@case(("order", 1))
def a_part_is_deleted_that_is_expired(session: Session) -> None:
    line = session.get_one(Line, 1)
    session.commit()
    session.delete(line)


@case(("order", 1), ("order", 2))
def a_part_goes_over_to_another(session: Session) -> None:
    session.get_one(Line, 1).order_id = 2


@case(("order", 1), ("order", 2))
def a_part_that_is_expired_goes_over_to_another(session: Session) -> None:
    line = session.get_one(Line, 1)
    session.commit()
    line.order_id = 2


@case(("order", 1), ("order", 2))
def parts_are_updated_in_bulk(session: Session) -> None:
    session.execute(update(Line).values(amount=3))


@case(("order", 1))
def parts_are_deleted_in_bulk(session: Session) -> None:
    session.execute(delete(Line).where(Line.id == 2))


@case(("order", 2))
def a_part_is_inserted_in_bulk(session: Session) -> None:
    session.execute(insert(Line), [{"id": 8, "order_id": 2}])
    session.execute(insert(Line).values(id=9, order_id=None))


@case(("order", 1))
def a_row_of_an_association_table_is_inserted(session: Session) -> None:
    session.execute(order_tags.insert().values(order_id=1, tag_id=1))


@case(("order", 2))
def an_association_is_changed_by_its_relationship(session: Session) -> None:
    order = session.get_one(Order, 2)
    order.tags.append(session.get_one(Tag, 1))


@case(("order", 2))
def a_relationship_is_written_behind_its_row(session: Session) -> None:
    order = session.get_one(Order, 2)
    order.first = order.lines[0]


@case(("book", 1))
def a_book_whose_shelf_is_deleted(session: Session) -> None:
    session.delete(session.get_one(Shelf, 1))


@case(("book", 1))
def a_book_that_goes_over_to_another_shelf(session: Session) -> None:
    shelves = [session.get_one(Shelf, number) for number in (1, 2)]
    shelves[1].books.append(shelves[0].books.pop())


@case(("order", 1))
def an_order_is_deleted_with_its_parts(session: Session) -> None:
    session.delete(session.get_one(Order, 1))


ALL = [pytest.param(*each[1:], id=each[0]) for each in CASES]


@pytest.mark.parametrize(("action", "expected"), ALL)
def test_a_change_is_marked(
    sessions: sessionmaker[Session], action: Callable[[Session], Any], expected: Marked
) -> None:
    with sessions() as session:
        begun(session)
        action(session)
        session.commit()
        assert marked(session) == expected


@pytest.mark.parametrize(("action", "expected"), ALL)
def test_a_transaction_that_is_rolled_back_takes_its_marks_along(
    engine: Engine,
    sessions: sessionmaker[Session],
    action: Callable[[Session], Any],
    expected: Marked,
) -> None:
    with sessions() as session:
        begun(session)
    with engine.connect() as connection, connection.begin() as transaction:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # sqlite3 does not begin at a savepoint
        with sessions(bind=connection, join_transaction_mode="create_savepoint") as session:
            action(session)
            session.commit()
            assert marked(session) == expected
        transaction.rollback()
    with sessions() as session:
        assert marked(session) == set()


REFUSED: list[tuple[str, Callable[[Session], Any], str]] = [
    (
        "text",
        lambda s: s.execute(text("UPDATE users SET age = 1")),
        "'UPDATE users' would leave no mark",
    ),
    ("quoted text", lambda s: s.execute(text('delete\nfrom "users"')), "would leave no mark"),
    (
        "text in a CTE",
        lambda s: s.execute(text("WITH x AS (SELECT 1) UPDATE users SET age = 1")),
        "no mark",
    ),
    (
        "an insert of text",
        lambda s: s.execute(text("INSERT INTO users (name) VALUES ('x')")),
        "no mark",
    ),
    (
        "the connection",
        lambda s: s.connection().execute(users.update().values(age=1)),
        "would leave no mark",
    ),
    (
        "plain SQL",
        lambda s: s.connection().exec_driver_sql("UPDATE users SET age = 1"),
        "would leave no mark",
    ),
    (
        "bulk_insert_mappings",
        lambda s: s.bulk_insert_mappings(User, [{"name": "x"}]),
        "would leave no mark",
    ),
    (
        "bulk_update_mappings",
        lambda s: s.bulk_update_mappings(User, [{"id": 1, "name": "x"}]),
        "no mark",
    ),
    ("bulk_save_objects", lambda s: s.bulk_save_objects([User(name="x")]), "would leave no mark"),
    ("an association", lambda s: s.execute(text("DELETE FROM order_tags")), "would leave no mark"),
    (
        "a statement that changes primary keys",
        lambda s: s.execute(update(User).values(id=User.id + 10)),
        r"old values of \['id'\] cannot be known",
    ),
    (
        "a statement that moves parts",
        lambda s: s.execute(update(Line).values(order_id=2)),
        r"old values of \['order_id'\] cannot be known",
    ),
    (
        "a list that moves parts",
        lambda s: s.execute(update(Line), [{"id": 1, "order_id": 2}]),
        r"\['order_id'\] point to cannot be known",
    ),
    (
        "an executemany of updates",
        lambda s: s.execute(
            users.update().where(users.c.id == bindparam("key")), [{"key": 1, "age": 2}]
        ),
        "the rows of an executemany cannot be known",
    ),
    (
        "an executemany of deletes",
        lambda s: s.execute(users.delete().where(users.c.id == bindparam("key")), [{"key": 1}]),
        "the rows of an executemany cannot be known",
    ),
]


@pytest.mark.parametrize(
    ("action", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_a_change_that_cannot_be_marked_is_refused(
    sessions: sessionmaker[Session], action: Callable[[Session], Any], message: str
) -> None:
    with sessions() as session:
        begun(session)
        before = session.execute(select(users).order_by(users.c.id)).all()
        with pytest.raises(UnmarkedError, match=message):
            action(session)
        session.rollback()
        assert session.execute(select(users).order_by(users.c.id)).all() == before
        assert marked(session) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM users",
        "SELECT 1 FROM users WHERE name = 'update'",
        "UPDATE other_users SET age = 1",
        "UPDATE users_archive SET age = 1",
        "INSERT INTO log (what) SELECT name FROM users",
    ],
)
def test_other_statements_are_let_pass(sessions: sessionmaker[Session], statement: str) -> None:
    with sessions() as session:
        for table in ("other_users", "users_archive"):
            session.execute(text(f"CREATE TABLE {table} (age INTEGER)"))
        session.execute(text("CREATE TABLE log (what VARCHAR(50))"))
        session.execute(text(statement))


def test_a_session_without_transactions_is_refused(
    engine: Engine, sessions: sessionmaker[Session]
) -> None:
    with sessions(bind=engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        session.add(User())
        with pytest.raises(UnmarkedError, match="AUTOCOMMIT"):
            session.flush()


def test_a_primary_key_of_any_type_comes_back(sessions: sessionmaker[Session]) -> None:
    key = (
        uuid.UUID(int=7),
        "ab-ć",
        Colour.GREEN,
        dt.date(2026, 11, 26),
        dt.datetime(2026, 11, 26, 7, 30, 0, 120000),
        b"\x00\xff",
        decimal.Decimal("1.50"),
    )
    with sessions() as session:
        session.add(
            Thing(
                uid=key[0],
                code=key[1],
                colour=key[2],
                day=key[3],
                moment=key[4],
                raw=key[5],
                price=key[6],
            )
        )
        session.commit()
        (found,) = session.scalars(select(marks.table.c.id)).all()
        tracked = marks.one(Thing)
        assert tracked.primary_key(found) == key
        assert list(tracked.load(session, [key])) == [key]
        assert tracked.id_of(key) == "00000000-0000-0000-0000-000000000007/ab-ć/GREEN"


def test_numbers_of_marks_are_never_given_twice(sessions: sessionmaker[Session]) -> None:
    numbers: list[int] = []
    with sessions() as session:
        for _ in range(3):
            session.add(User())
            session.commit()
            numbers += session.scalars(select(marks.table.c.mark)).all()
            session.execute(delete(marks.table))
            session.commit()
    assert numbers == sorted(set(numbers))


@pytest.fixture
def meta(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with sessions(info={"dirty_meta": {"who": "admin"}}) as session:
        yield session


def test_a_mark_carries_the_meta_of_its_session(meta: Session) -> None:
    meta.add(User())
    meta.commit()
    assert set(meta.scalars(select(marks.table.c.meta))) == {'{"who": "admin"}'}
