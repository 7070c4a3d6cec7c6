"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_items()
    _make_raters()
    _make_answers()


def _make_items() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
    )
    op.create_table(
        "item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("n_taken", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Boolean(), nullable=False),
        sa.Column("low", sa.Float()),
        sa.Column("high", sa.Float()),
        sa.Column("best", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_item"),
        sa.UniqueConstraint("name", "role", name="uq_item_name_role"),
    )
    op.create_index("ix_item_role_n_taken", "item", ["role", "n_taken"])
    op.create_table(
        "picture",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name="fk_picture_item_id"),
        sa.PrimaryKeyConstraint("id", name="pk_picture"),
        sa.UniqueConstraint("code", name="uq_picture_code"),
    )
    op.create_index("ix_picture_item_id", "picture", ["item_id"])


def _make_raters() -> None:
    op.create_table(
        "invitation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("token_hash", name="uq_invitation_token_hash"),
    )
    op.create_table(
        "rater",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("session", sa.String(length=32), nullable=False),
        sa.Column("panel_hash", sa.String(length=64)),
        sa.Column("invitation_id", sa.Integer()),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("consented_at", sa.Float(), nullable=False),
        sa.Column("instructed_at", sa.Float()),
        sa.Column("finished_at", sa.Float()),
        sa.Column("excluded_at", sa.Float()),
        sa.Column("rested", sa.Integer(), nullable=False),
        sa.Column("revising", sa.Integer()),
        sa.ForeignKeyConstraint(["invitation_id"], ["invitation.id"], name="fk_rater_invitation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_rater"),
        sa.UniqueConstraint("invitation_id", name="uq_rater_invitation_id"),
        sa.UniqueConstraint("name", name="uq_rater_name"),
        sa.UniqueConstraint("panel_hash", name="uq_rater_panel_hash"),
        sa.UniqueConstraint("session", name="uq_rater_session"),
    )


def _make_answers() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("rater_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("assigned_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("shown_at", sa.Float()),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name="fk_assignment_item_id"),
        sa.ForeignKeyConstraint(["rater_id"], ["rater.id"], name="fk_assignment_rater_id"),
        sa.PrimaryKeyConstraint("id", name="pk_assignment"),
        sa.UniqueConstraint("code", name="uq_assignment_code"),
        sa.UniqueConstraint("rater_id", "item_id", "role", name="uq_assignment_rater_id_item_id_role"),
    )
    op.create_index("ix_assignment_item_id", "assignment", ["item_id"])
    op.create_index("ix_assignment_state_expires_at", "assignment", ["state", "expires_at"])
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("rating", sa.Float()),
        sa.Column("picture_id", sa.Integer()),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("server_seconds", sa.Float(), nullable=False),
        sa.Column("slider_start", sa.Float()),
        sa.Column("display_width", sa.Float()),
        sa.Column("display_height", sa.Float()),
        sa.Column("pixel_ratio", sa.Float()),
        sa.Column("answered_at", sa.Float(), nullable=False),
        sa.Column("n_revisions", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignment.id"], name="fk_answer_assignment_id"),
        sa.ForeignKeyConstraint(["picture_id"], ["picture.id"], name="fk_answer_picture_id"),
        sa.PrimaryKeyConstraint("id", name="pk_answer"),
        sa.UniqueConstraint("assignment_id", name="uq_answer_assignment_id"),
    )


def downgrade() -> None:
    for name in ("answer", "assignment", "rater", "invitation", "picture", "item", "study"):
        op.drop_table(name)
