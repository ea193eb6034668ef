create table bridge.migration (
	number int primary key,
	made_at timestamptz not null default now()
);

-- The number of the last opening of each sink. No delivery locks it: an opening is told here before the sessions of others are ended.
create table bridge.opening (
	name text primary key,
	fence bigint not null
);

-- How far each sink is, and the opening that may write. The row is locked by the transaction that delivers.
create table bridge.sink (
	name text primary key,
	fence bigint not null,
	log text,
	epoch bigint,
	position bigint,
	updated_at timestamptz not null default now()
);

-- One row for each event. seq is the order of arrival: positions begin again where the log is replaced. An administrator may make this table
-- before, with partitions.
create sequence if not exists bridge.events_seq cache 100;
create table if not exists bridge.events (
	seq bigint not null default nextval('bridge.events_seq'),
	id uuid not null primary key,
	type text not null,
	kind text,
	source text not null,
	subject text not null,
	subject_version text,
	occurred_at timestamptz,
	received_at timestamptz not null,
	stale boolean not null,
	supersedes uuid,
	connector text not null,
	vendor_event text not null,
	webhook_id uuid,
	position bigint not null,
	data jsonb not null,
	encoded bytea
);
create index if not exists events_seq_index on bridge.events (seq);
create index if not exists events_subject on bridge.events (source, subject, seq);
create index if not exists events_received_at on bridge.events using brin (received_at);

insert into bridge.migration (number) values (1);
