"""The tables. Times are epoch microseconds (UTC); ids are UUIDv7 text; what is personal is sealed bytes.

dossier ─┬─ message ── delivery ─┬─ attempt        intent before I/O, result after it
         │                       ├─ transition     every change of state, with its cause
         │                       ├─ evidence       what the creditor told us: answers, receipts, bounces
         │                       └─ answer_page    hash of the token in a mail
         ├─ milestone                              what the clock has caused, once; for whom it was withdrawn
         ├─ nudge                                  something changed: look at the dossier's agenda
         └─ payload                                sealed: messages, views, renditions; erased on its own
outbox   events to the sender, numbered for the feed     task, task_step  what a person must look at, and did
refusal  input that was refused or quarantined           creditor_entry   the register and its history
spool    the embedded queue                              callback         replay protection of signed answers
pause_request  from the pauzeknop                        closed_lane      channels whose peer is gone for good
operator_act ── operator_act_item                        what people had sent again, or put back
lane     who sends to a creditor on a channel, its rests  gateway          those that live, by the database's own clock
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)
Serial = BigInteger().with_variant(Integer, "sqlite")

dossier = Table(
    "dossier",
    metadata,
    Column("id", Text, primary_key=True),
    Column("gemeente", Text, nullable=False),
    Column("kenmerk", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),  # the dossier's own data key, wrapped; destroy it and all is unreadable
    Column("versie", Integer, nullable=False),  # highest version processed; 0: only messages on hold so far
    Column("created_at", BigInteger, nullable=False),
    Column("withdrawn_at", BigInteger),  # a withdrawal for all creditors was processed
    Column("review_at", BigInteger),  # when its agenda has something next; null: never again
    UniqueConstraint("kenmerk", "gemeente"),
)
Index("ix_dossier_review", dossier.c.review_at, sqlite_where=text("review_at IS NOT NULL"),
      postgresql_where=text("review_at IS NOT NULL"))  # fmt: skip

message = Table(
    "message",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("dossier_id", Text, nullable=False),
    Column("versie", Integer, nullable=False),
    Column("soort", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # over the RFC 8785 form of type + data
    Column("sender_oin", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("hold_until", BigInteger),  # set: waits for a missing version
    Column("out_of_order", Boolean, nullable=False),  # processed although a version before it was missing
    Column("request", Text),  # verzoekkenmerk: the pause request that a kennisgeving answers
    UniqueConstraint("event_id", "source"),
    UniqueConstraint("dossier_id", "versie"),
)
Index("ix_message_request", message.c.request, sqlite_where=text("request IS NOT NULL"),
      postgresql_where=text("request IS NOT NULL"))  # fmt: skip
Index("ix_message_hold", message.c.hold_until, sqlite_where=text("hold_until IS NOT NULL"),
      postgresql_where=text("hold_until IS NOT NULL"))  # fmt: skip

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("dossier_id", Text, nullable=False),
    Column("creditor", Text, nullable=False),
    Column("agent_for", Text),  # namens: the creditor for whom this one is told as well
    Column("soort", Text, nullable=False),
    Column("versie", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("channel_since", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("proof", SmallInteger, nullable=False),
    Column("fence", Integer, nullable=False),  # number of the claim that may settle; also the attempt's number
    Column("tries", Integer, nullable=False),  # attempts that spent retry budget on this channel
    Column("owner", Text),  # the gateway that holds the claim
    Column("next_action_at", BigInteger),  # due; the end of the lease while busy; null when nothing is to be done
    Column("waits_for", Text),  # the delivery that must be handed over first
    Column("created_at", BigInteger, nullable=False),
    Column("give_up_at", BigInteger, nullable=False),
    Column("handed_over_at", BigInteger),
    Column("reference", Text),  # what the peer calls it
    Column("view_digest", LargeBinary, nullable=False),
    Column("reminds", Text),  # of a reminder: the delivery that was not answered
    Column("terms", Text),  # JSON: what it asks about the pause (core/pause.py); null where it asks nothing
    Column("received_at", BigInteger),  # first proof that the creditor has it
    Column("answered_at", BigInteger),  # first decision
    Column("decided_at", BigInteger),  # current decision
    Column("decision", Text),  # soort of the current decision
    Column("paused_until", Text),  # date that the current decision names
    Column("transferred_to", Text),  # register id of the agent to whom the claim went
    Column("balance_on", Text),  # date of the saldo-opgave
    Column("stands", Text),  # set while what the creditor has is sent again: the state that it keeps all the while
)
Index("ix_delivery_dossier", delivery.c.dossier_id, delivery.c.creditor)
Index("ix_delivery_message", delivery.c.message_id)
for _name, _columns, _where in (
    ("due", ("creditor", "channel", "next_action_at"), "next_action_at IS NOT NULL AND waits_for IS NULL"),
    ("new", ("creditor", "channel", "next_action_at"), "state = 'in_wachtrij' AND waits_for IS NULL"),
    ("waits_for", ("waits_for",), "waits_for IS NOT NULL"),
    ("open", ("creditor", "channel"), "state IN ('afgeleverd', 'ontvangen')"),
    ("stands", ("stands",), "stands IS NOT NULL"),
):
    Index(
        f"ix_delivery_{_name}",
        *(delivery.c[column] for column in _columns),
        sqlite_where=text(_where),
        postgresql_where=text(_where),
    )

payload = Table(
    "payload",
    metadata,
    Column("owner", Text, primary_key=True),  # a message id or a delivery id
    Column("kind", Text, primary_key=True),  # bericht | aanzicht | verzonden:<channel>
    Column("dossier_id", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("nr", Integer, primary_key=True),  # the fencing token of the claim
    Column("channel", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the frozen bytes
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("outcome", Text),
    Column("code", Text),
    Column("reply", LargeBinary),  # sealed
    Column("stale", Boolean, nullable=False),  # the result came after the claim was lost: evidence only
)

transition = Table(
    "transition",
    metadata,
    Column("nr", Serial, primary_key=True, autoincrement=True),
    Column("delivery_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("happening", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("cause", Text),  # attempt number or evidence id
)
Index("ix_transition_delivery_id", transition.c.delivery_id)

evidence = Table(
    "evidence",
    metadata,
    Column("id", Text, primary_key=True),
    Column("delivery_id", Text, nullable=False),
    Column("creditor", Text, nullable=False),  # its author
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),  # answer | receipt | bounce | human | invalid
    Column("soort", Text),  # of an answer
    Column("source", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of what was received
    Column("raw", LargeBinary, nullable=False),  # sealed
    Column("answer", LargeBinary),  # sealed JSON
    Column("received_at", BigInteger, nullable=False),
    UniqueConstraint("delivery_id", "source"),
)

answer_page = Table(
    "answer_page",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("delivery_id", Text, nullable=False),
    Column("reference_hashes", Text, nullable=False),  # keyed hashes, hex, separated by spaces
    Column("wrong", SmallInteger, nullable=False),
    Column("decided", Boolean, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

callback = Table(
    "callback",
    metadata,
    Column("creditor", Text, primary_key=True),
    Column("webhook_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("nr", BigInteger, unique=True),  # the feed's number, given after commit, in one serialised step
    Column("name", Text, nullable=False),
    Column("gemeente", Text, nullable=False),  # 'onbekend' where no sender is known
    Column("dossier_id", Text),  # whose key seals it; null: the gateway's
    Column("sealed", LargeBinary, nullable=False),  # the CloudEvent
    Column("next_at", BigInteger),  # to be numbered or published; null when done
)
Index("ix_outbox_feed", outbox.c.gemeente, outbox.c.nr)
Index("ix_outbox_due", outbox.c.next_at, sqlite_where=text("next_at IS NOT NULL"),
      postgresql_where=text("next_at IS NOT NULL"))  # fmt: skip

task = Table(
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("soort", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("gemeente", Text),
    Column("dossier_id", Text),
    Column("delivery_id", Text),
    Column("creditor", Text),  # register id, or the name as sent of one that the register does not know
    Column("detail", Text, nullable=False),  # Dutch, no personal data
    Column("assigned_to", Text),
    Column("closed_at", BigInteger),
)
Index("ix_task_delivery_id", task.c.delivery_id)
Index("ix_task_dossier_id", task.c.dossier_id)
Index("ix_task_open", task.c.id, sqlite_where=text("closed_at IS NULL"),
      postgresql_where=text("closed_at IS NULL"))  # fmt: skip

task_step = Table(
    "task_step",
    metadata,
    Column("nr", Serial, primary_key=True, autoincrement=True),
    Column("task_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # who did it; "gateway" where the cause went away
    Column("step", Text, nullable=False),  # toegewezen | afgehandeld
    Column("reason", Text, nullable=False),
)
Index("ix_task_step_task_id", task_step.c.task_id)

operator_act = Table(
    "operator_act",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # herhaling | herstel | vaststelling
    Column("asked_at", BigInteger, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("code", Text),  # with which a second person confirms it; null: none was needed
    Column("expires_at", BigInteger),  # until when it can be confirmed
    Column("settings", Text, nullable=False),  # JSON: how it was to be done
    Column("done_at", BigInteger),
    Column("done_by", Text),
    UniqueConstraint("code"),
)

operator_act_item = Table(
    "operator_act_item",
    metadata,
    Column("act_id", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("before", Text),  # its state at that moment; null: asked for, and not done
)
Index("ix_operator_act_item_delivery_id", operator_act_item.c.delivery_id)

milestone = Table(
    "milestone",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),  # of the event or the act
    Column("subject", Text, primary_key=True),  # delivery, creditor, date, version: what it is about
    Column("at", BigInteger, nullable=False),
)

nudge = Table(
    "nudge",
    metadata,
    Column("nr", Serial, primary_key=True, autoincrement=True),
    Column("dossier_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

pause_request = Table(
    "pause_request",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("gemeente", Text, nullable=False),
    Column("kenmerk", Text, nullable=False),  # verzoekkenmerk
    Column("sender_oin", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),  # its own data key, wrapped
    Column("sealed", LargeBinary, nullable=False),  # the CloudEvent
    Column("due_at", BigInteger),  # when it has waited too long; null: handled, or told
    Column("handled_at", BigInteger),
    Column("handled_by", Text),  # id of the kennisgeving, or the OIN of who said so
    UniqueConstraint("event_id", "source"),
    UniqueConstraint("kenmerk", "gemeente"),
)
Index("ix_pause_request_gemeente", pause_request.c.gemeente, pause_request.c.id)
Index("ix_pause_request_due", pause_request.c.due_at, sqlite_where=text("due_at IS NOT NULL"),
      postgresql_where=text("due_at IS NOT NULL"))  # fmt: skip

refusal = Table(
    "refusal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # geweigerd | geparkeerd
    Column("door", Text, nullable=False),  # amqp | http | spool | wacht
    Column("sender", Text),
    Column("gemeente", Text),
    Column("source", Text),
    Column("event_id", Text),
    Column("violations", Text, nullable=False),  # JSON [{pad, code, melding}], never a value
    Column("body", LargeBinary, nullable=False),  # sealed with the gateway's key
)

creditor_entry = Table(
    "creditor_entry",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("document", Text),  # JSON; null: taken out of the register
    Column("applied_at", BigInteger, nullable=False),
)

closed_lane = Table(
    "closed_lane",
    metadata,
    Column("creditor", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

lane = Table(
    "lane",
    metadata,
    Column("creditor", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("owner", Text),  # the gateway that sends on it, while that one lives; null: nobody, or the only one there is
    Column("fence", BigInteger, nullable=False),  # one higher with each owner; a claim names it
    Column("held_until", BigInteger, nullable=False),  # the peer asked to be left alone until then
    Column("deaths", Integer, nullable=False),  # failed probes in a row, and the death before them; 0: it is alive
    Column("dead_until", BigInteger, nullable=False),
    Column("fresh_since", BigInteger, nullable=False),  # when it last came to life
)

gateway = Table(
    "gateway",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lease_until", BigInteger, nullable=False),  # on the database's clock: until then it owns its lanes
    Column("stays", Boolean, nullable=False),  # false: it is ending, and takes no lanes any more
)

spool = Table(
    "spool",
    metadata,
    Column("nr", Serial, primary_key=True, autoincrement=True),
    Column("sender", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("enqueued_at", BigInteger, nullable=False),
)
