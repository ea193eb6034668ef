-- The journal of one log. Times are Unix nanoseconds of the journal's clock, as it showed them in the epoch that stands beside them,
-- unless a column says otherwise. See package postgres for the rules of reading and writing.

-- log has one row. Its lock is the order of the log: every group of webhooks takes it first.
create table bridge.log (
	one         boolean primary key default true check (one),
	id          text    not null,                -- sinks.Log.ID
	format      int     not null,
	next        bigint  not null default 1,      -- the next position to assign
	kept        bigint  not null default 1,      -- sinks.Bounds.Earliest
	last_commit bigint  not null default 0,
	epoch       int     not null default 0,      -- number of the last epoch
	server      text    not null default '',     -- system identifier and timeline of the server that committed last
	-- Webhooks that were received before these Unix milliseconds are removed, also where their partitions are still there.
	webhooks_from    bigint not null default 0,
	quarantined_from bigint not null default 0,
	move             text   not null default ''  -- note of a move: the log moved away, or its copy to here is not complete. No instance may use it
) with (fillfactor = 10);

create table bridge.epoch (
	number int    primary key,
	id     bigint not null,                      -- sinks.Epoch, its bits as a signed number
	first  bigint not null,
	floor  bigint not null
);

create table bridge.event (
	position bigint not null,
	at       bigint not null,                    -- of the commit; its epoch is the one that holds the position
	encoded  bytea  not null,                    -- bridge.event.v1.Event
	primary key (position)
) partition by range (position);

create table bridge.webhook (                    -- webhooks that were never in quarantine
	id        uuid    not null,                  -- version 7
	first     bigint  not null,                  -- position of the first event, or where it would be
	events    int     not null,
	duplicate boolean not null,
	encoded   bytea   not null,                  -- bridge.journal.v1.Webhook without the journal's own fields
	primary key (id)
) partition by range (id);

create table bridge.quarantined (                -- webhooks in quarantine, and those that were released
	id        uuid    not null,
	first     bigint  not null,
	events    int     not null,
	duplicate boolean not null,
	released  boolean not null,
	encoded   bytea   not null,
	primary key (id)
) partition by range (id);
create index on bridge.quarantined (id) where not released;

create table bridge.correction (
	webhook uuid   not null,
	first   bigint not null,
	indexes int[]  not null,
	at      bigint not null,
	primary key (webhook, first)
);
create index on bridge.correction (first);

-- dedupe has the contents under a key: for each its time (8 bytes), bytes (16) and meaning (16), the oldest first.
create table bridge.dedupe (
	key      bytea  primary key,
	epoch    int    not null,
	at       bigint not null,                    -- of the newest content
	contents bytea  not null
);

create table bridge.version (                    -- the greatest version of a subject
	subject bytea  primary key,
	epoch   int    not null,
	at      bigint not null,
	version bytea  not null
);

create table bridge.drift (
	connector     text   not null,
	event         text   not null,
	path          text   not null,               -- empty where a connector had more differences than are told apart
	kind          int    not null,               -- bridge.journal.v1.DriftKind
	count         bigint not null,
	first_at      bigint not null,               -- of receipt
	last_at       bigint not null,
	first_webhook uuid   not null,
	last_webhook  uuid   not null,
	sample        bytea  not null,
	primary key (connector, event, path, kind)
);

-- reader is a named reader: its cursor and its lease are one row, so that a write which is fenced by the one is fenced by the other.
create table bridge.reader (
	name       text    primary key,
	position   bigint  not null default 0,       -- first position that the reader has not dealt with; 0: it has no cursor
	skip       boolean not null default false,   -- journal.Skip
	paused     boolean not null default false,
	touched    bigint  not null default 0,       -- when the cursor was written last
	registered timestamptz not null default '-infinity',  -- the server's clock: until when some replica has it configured
	owner      uuid,                             -- bridge.replica.id, null: none
	claim      bigint  not null default 0,       -- the fencing token: greater with each claim, and with each revocation
	until      timestamptz not null default '-infinity',  -- the server's clock: end of the lease
	note       bytea   not null default ''       -- journal.Claim.SaveNote
);

create table bridge.parked (
	reader   text   not null,
	position bigint not null,
	at       bigint not null,                    -- when it was parked last
	encoded  bytea  not null,                    -- bridge.journal.v1.Parked
	primary key (reader, position)
);
create table bridge.gap (
	reader   text   not null,
	first    bigint not null,
	behind   bigint not null,                    -- first position after the gap
	first_at bigint not null,
	last_at  bigint not null,
	primary key (reader, first)
);
create table bridge.request (                    -- what operators asked of a reader's holder
	reader   text   not null,
	position bigint not null,
	kind     "char" not null,                    -- p: pass, r: retry
	at       bigint not null,
	primary key (reader, position, kind)
);

-- replica has a row for each running instance. An instance updates its own row to learn that what it saw is durable.
create table bridge.replica (
	id      uuid        primary key,
	name    text        not null,
	version text        not null,
	started timestamptz not null,
	seen    timestamptz not null,                -- the server's clock
	shown   bigint      not null default 1,      -- sinks.Bounds.Next of the instance
	counts  bytea       not null default '',     -- bridge.journal.v1.ReplicaCounts: journal.Replicas.Report
	ended   boolean     not null default false   -- it has closed the log in order
);
