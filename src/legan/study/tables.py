"""Tables of a study's database. Times are seconds since 1970 (UTC); no table holds a name or a network address.

The migrations in `migrations/` make the same tables, which a test checks.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
REVISION = "0001"  # of the tables below, as migrations name it

# Roles of items, and of assignments (which may also be a repeat).
MAIN, GOLD, PRACTICE, REPEAT = "main", "gold", "practice", "repeat"
# States of an assignment. Returned: the time ran out, and it may be taken up again while the item has room; lost: it had none.
OPEN, ANSWERED, RETURNED, LOST = "open", "answered", "returned", "lost"
# Verdicts of an answer.
RATED, PICKED, TIE, NONE, SKIPPED = "rated", "picked", "tie", "none", "skipped"

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("models", Text, nullable=False),  # JSON list of names; empty for ratings
    Column("source", Text, nullable=False),  # where the pictures came from
    Column("created_at", Float, nullable=False),
)
item = Table(
    "item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("n_taken", Integer, nullable=False, default=0),  # answers that count, plus assignments in flight
    Column("missing", Boolean, nullable=False, default=False),  # a picture's file is gone
    Column("low", Float),  # of gold items: the right answer lies between
    Column("high", Float),
    Column("best", Text),  # of gold items: the right model
    UniqueConstraint("name", "role"),
    Index(None, "role", "n_taken"),
)
picture = Table(
    "picture",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(32), nullable=False, unique=True),  # what the page sees: random
    Column("item_id", Integer, ForeignKey("item.id"), nullable=False, index=True),
    Column("model", Text, nullable=False),  # "" for ratings, "input" for the original
    Column("file", Text, nullable=False),  # in the study's folder of pictures
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
)
invitation = Table(
    "invitation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)
rater = Table(
    "rater",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # random
    Column("session", String(32), nullable=False, unique=True),  # random; a new one ends the sessions before
    Column("panel_hash", String(64), unique=True),
    Column("invitation_id", Integer, ForeignKey("invitation.id"), unique=True),
    Column("plan", Text, nullable=False),  # a letter a position: p(ractice), m(ain), g(old), r(epeat), - (nothing was left)
    Column("consented_at", Float, nullable=False),
    Column("instructed_at", Float),
    Column("finished_at", Float),
    Column("excluded_at", Float),
    Column("rested", Integer, nullable=False, default=0),  # answers given when the last break was taken
    Column("revising", Integer),  # the assignment that the rater went back to
)
assignment = Table(
    "assignment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(32), nullable=False, unique=True),  # what the page sees: random
    Column("rater_id", Integer, ForeignKey("rater.id"), nullable=False),
    Column("item_id", Integer, ForeignKey("item.id"), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("position", Integer, nullable=False),
    Column("layout", Text, nullable=False),  # JSON list of the pictures' ids in the order shown
    Column("state", String(16), nullable=False),
    Column("assigned_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("shown_at", Float),
    UniqueConstraint("rater_id", "item_id", "role"),
    Index(None, "state", "expires_at"),
)
answer = Table(
    "answer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("assignment_id", Integer, ForeignKey("assignment.id"), nullable=False, unique=True),
    Column("verdict", String(16), nullable=False),
    Column("rating", Float),
    Column("picture_id", Integer, ForeignKey("picture.id")),
    Column("seconds", Float, nullable=False),  # the page was visible with its pictures, as the browser tells
    Column(
        "server_seconds", Float, nullable=False
    ),  # between handing out and answer, as the server tells; 0: its clock was set back
    Column("slider_start", Float),  # where the rater first put the slider
    Column("display_width", Float),  # of a picture on the screen, CSS pixels
    Column("display_height", Float),
    Column("pixel_ratio", Float),
    Column("answered_at", Float, nullable=False),
    Column("n_revisions", Integer, nullable=False, default=0),
)
