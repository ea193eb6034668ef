-- Replays. The version of Bridge before does not know the table, and runs beside it: what it claims delivers no replay, and it leaves them
-- behind in a move.

insert into bridge.upgrade values (4);

create table bridge.replay (
	id      text    collate "C" primary key,    -- in the order of the requests
	reader  text    not null,
	ended   boolean not null,
	encoded bytea   not null                     -- bridge.journal.v1.Replay
) with (fillfactor = 20);
create index on bridge.replay (reader);
