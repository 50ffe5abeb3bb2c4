-- Queues: how a team's members are offered calls, and what people say of themselves. Owner: crates/calls. One dialect
-- for SQLite and PostgreSQL: see docs/sql.md. Who waits is known to the server alone: a call does not outlive it.

alter table team add column wrap_up_s bigint not null default 0;   -- a member writes up a call for so long
alter table team add column ring_s bigint not null default 20;     -- a member's phones ring so long for one offer

create table person_state (
    org              text not null,
    person           text not null,
    availability     text not null,              -- available, away
    wrap_up_until_at bigint not null default 0,
    since_at         bigint not null,            -- nothing to do since then
    primary key (org, person)
);
