-- Call flows: what was saved, what ran, what was booked. Owner: crates/tandem/src/flows. One dialect for SQLite and
-- PostgreSQL: see docs/sql.md. The path that a run took is read from its call's events (step.started, .completed).

create table flow (
    id         text not null primary key,
    org        text not null references org (id),
    name       text not null,
    version    bigint not null,           -- the newest of flow_version
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint                     -- versions stay, for the runs that used them
);
create index flow_by_org on flow (org, id);

create table flow_version (
    flow       text not null references flow (id),
    version    bigint not null,
    org        text not null,
    body       text not null,             -- as it was saved, without credentials
    created_at bigint not null,
    primary key (flow, version)
);

-- One run on one call. Its state, cause and end are the call's.
create table flow_run (
    id         text not null primary key,
    org        text not null references org (id),
    call       text not null,
    flow       text not null default '',  -- saved flow, '' = posted
    version    bigint not null default 0,
    body       text not null default '',  -- of a posted flow, without credentials and secrets
    variables  text not null default '{}',
    error      text not null default '',  -- why it never began; it has no call then
    started_at bigint not null
);
create index flow_run_by_org on flow_run (org, id);
create index flow_run_by_call on flow_run (org, call);

-- A callback that a run booked. state: scheduled, calling (the first party rings), connecting (the second one does),
-- connected, completed, missed.
create table callback (
    id          text not null primary key,  -- cb_..., the key of its events
    org         text not null references org (id),
    run         text not null,
    step        text not null,
    call        text not null,              -- the call that booked it
    wall_date   text not null,
    wall_time   text not null,
    zone        text not null,
    asap        boolean not null default false,
    entity      text not null,
    customer    text not null,
    ring_order  text not null,
    attempts    bigint not null,
    attempt     bigint not null default 0,
    state       text not null,
    due_at      bigint not null,            -- moved by quiet hours and retries
    moved       boolean not null default false,  -- due_at is no longer the wall time's
    last_call   text not null default '',   -- the call that is, or was, its attempt
    reason      text not null default '',
    created_at  bigint not null,
    ended_at    bigint,
    unique (run, step)
);
create index callback_by_org on callback (org, id);
