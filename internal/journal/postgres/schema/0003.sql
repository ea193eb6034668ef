-- Cursors that an operator moved. The version of Bridge before does not know the column, and runs beside it: what that version saves is
-- another position than the one in the column, and what it moves is not marked.

insert into bridge.upgrade values (3);

-- moved is the position that an operator moved the cursor to. It counts while it is the reader's position; 0: none.
alter table bridge.reader add column moved bigint not null default 0;
