-- Subscription groups. The version of Bridge before does not know these tables, and runs beside them: log.format becomes 2 when the first
-- group is made, since that version would leave groups behind in a move.

-- upgrade has the number of each file of this folder, from 2 on, that was run.
create table bridge.upgrade (number int primary key);
insert into bridge.upgrade values (2);

-- groups has a row with an empty name once a group was deleted: no deleted group had an epoch or a version above its version. A new group begins
-- above it.
create table bridge.groups (
	name       text   collate "C" primary key,
	version    bigint not null,                  -- journal.GroupState.Version
	definition bytea  not null
);

-- session is an instance's part in the groups. A session has ended when its row is gone. Whoever finds that its time has run out removes it.
create table bridge.session (
	id           uuid        primary key,
	replica      uuid        not null,           -- bridge.replica.id
	replica_name text        not null,
	until        timestamptz not null            -- the server's clock: end of the lease
) with (fillfactor = 20);

create table bridge.member (
	group_name text   collate "C" not null,
	id         text   collate "C" not null,
	session    uuid   not null,                  -- a member whose session has ended counts as gone
	joined     bigint not null,
	note       bytea  not null,
	primary key (group_name, id)
);
create index on bridge.member (session);

-- share is updated for each acknowledgement. It has no index but its key, and room in each block, so that an update adds nothing to the index
-- and the next one reuses its room.
create table bridge.share (
	group_name text   collate "C" not null,
	index      int    not null,
	owner      uuid,                             -- bridge.session.id. An owner whose session has ended counts as none
	epoch      bigint not null,                  -- the fencing token
	version    bigint not null,
	state      bytea  not null,
	primary key (group_name, index)
) with (fillfactor = 20);
