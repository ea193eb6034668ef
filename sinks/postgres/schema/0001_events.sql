create table bridge.migration (
	number int primary key,
	made_at timestamptz not null default now()
);

-- How far each sink is. The row is locked by the transaction that delivers.
create table bridge.sink (
	name text primary key,
	fence bigint not null,
	log text,
	epoch bigint,
	position bigint,
	updated_at timestamptz not null default now()
);

-- One row for each event. An administrator may make this table before, with partitions.
create table if not exists bridge.events (
	position bigint not null,
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
	data jsonb not null,
	encoded bytea
);
create index if not exists events_position on bridge.events (position);
create index if not exists events_subject on bridge.events (source, subject, position);
create index if not exists events_received_at on bridge.events using brin (received_at);

insert into bridge.migration (number) values (1);
