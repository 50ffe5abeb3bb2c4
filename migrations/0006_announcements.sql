-- Whether whoever dials a team that queues, and waits, is told where he stands. Owner: crates/calls.

alter table team add column announce_position boolean not null default true;
