-- The number of the pool that each party of a pair sees, so that a call back finds the other. Owner: crates/calls.

create table pair_number (
    org      text not null references org (id),
    pair     text not null,                    -- what pairs them: meeting/17
    number   text not null,                    -- of the organisation's own, with +
    cli      text not null,                    -- whoever calls from here is that party, with +
    side     text not null,                    -- first, second
    until_at bigint not null,                  -- free for others from then on
    primary key (org, pair, side)
);
create index pair_number_by_cli on pair_number (org, cli, number);
create index pair_number_by_time on pair_number (org, until_at);
