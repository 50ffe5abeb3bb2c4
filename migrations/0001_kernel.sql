-- What every desk stands on. One dialect for SQLite and PostgreSQL: see docs/sql.md.
-- Times are UTC milliseconds (bigint, names end in _at), JSON is text, ids are text with a prefix.
-- Tables stand in the order in which a restore may fill them: what is referred to comes first.

-- ---------------------------------------------------------------- organisations and people
create table org (
    id          text not null primary key,
    slug        text not null unique,
    name        text not null,
    cloud_sid   text not null unique,       -- shown to API users of document 003
    zone        text not null,              -- IANA name
    sip_domain  text not null default '',   -- '' = the server's own address
    host        text not null default '',   -- Host name of keyless routes, '' = none
    settings    text not null default '{}',
    version     bigint not null default 1,
    created_at  bigint not null
);
create unique index org_by_sip_domain on org (sip_domain) where sip_domain <> '';
create unique index org_by_host on org (host) where host <> '';

create table person (
    id            text not null primary key,
    org           text not null references org (id),
    name          text not null,
    email         text,                     -- lower case; unique in its organisation
    role          text not null,
    password_hash text,                     -- argon2; null = signs in by link only
    settings      text not null default '{}',
    version       bigint not null default 1,
    created_at    bigint not null,
    disabled_at   bigint,
    unique (org, email)
);

-- Personal API tokens (auth_token of document 003); only the SHA-256 is kept.
create table person_token (
    id           text not null primary key,
    org          text not null references org (id),
    person       text not null references person (id),
    token_hash   text not null unique,
    label        text not null default '',
    created_at   bigint not null,
    last_used_at bigint,
    revoked_at   bigint
);
create index person_token_by_person on person_token (person);

create table person_session (
    id           text not null primary key,
    org          text not null references org (id),
    person       text not null references person (id),
    token_hash   text not null unique,
    address      text not null default '',
    user_agent   text not null default '',
    created_at   bigint not null,
    last_used_at bigint not null,
    expires_at   bigint not null
);
create index person_session_by_person on person_session (person);
create index person_session_by_expiry on person_session (expires_at);

create table app (
    id              text not null primary key,
    org             text not null references org (id),
    name            text not null,
    scopes          text not null default '[]',   -- [] = everything of its organisation
    publishable_key text not null unique,         -- public by nature, kept readable
    settings        text not null default '{}',
    version         bigint not null default 1,
    created_at      bigint not null,
    disabled_at     bigint
);
create index app_by_org on app (org);

create table app_key (
    id           text not null primary key,
    org          text not null references org (id),
    app          text not null references app (id),
    token_hash   text not null unique,
    created_at   bigint not null,
    last_used_at bigint,
    revoked_at   bigint
);
create index app_key_by_app on app_key (app);

-- ---------------------------------------------------------------- events and their delivery
-- One append-only log. position grows in the order of commits over all organisations (db/writer.rs);
-- seq counts from 1 without holes inside one key (a call, a room, a meeting ...).
create table event (
    org      text not null,
    position bigint not null,
    id       text not null,
    kind     text not null,
    key      text not null,
    seq      bigint not null,
    time_at  bigint not null,
    body     text not null,               -- the other fields of the envelope, a JSON object
    primary key (org, position),
    unique (org, key, seq)
);

-- Where events go: an organisation's webhooks (run = '') and the publish URL of one flow run.
create table webhook (
    id           text not null primary key,
    org          text not null references org (id),
    run          text not null default '',
    url          text not null,
    host         text not null,           -- scheme://host:port of url: the unit of concurrency
    method       text not null,
    events       text not null,           -- JSON list of types; [] = all
    paused_until_at bigint not null default 0,  -- Retry-After
    created_at   bigint not null,
    disabled_at  bigint
);
create index webhook_by_org on webhook (org, run);

-- Signing secrets, sealed with the server's key. owner is a webhook's id or an organisation's id.
create table signing_secret (
    id         text not null primary key,
    org        text not null references org (id),
    owner      text not null,
    sealed     text not null,
    created_at bigint not null,
    retires_at bigint                     -- null = the current one
);
create index signing_secret_by_owner on signing_secret (org, owner);

-- One event on its way to one webhook. state: fast (holds the order of its key), slow (does not), or an end:
-- done, refused (4xx), expired, dropped (the webhook was disabled).
create table delivery (
    webhook    text not null,             -- may be deleted meanwhile: then the delivery is dropped
    position   bigint not null,           -- of the event
    org        text not null,
    key        text not null,
    kind       text not null,
    host       text not null,
    state      text not null,
    due_at     bigint not null,
    expires_at bigint not null,
    attempts   text not null default '[]',  -- JSON list of {at, ms, status | error}
    primary key (webhook, position)
);
create index delivery_open on delivery (host, due_at) where state in ('fast', 'slow');
create index delivery_order on delivery (webhook, key, position) where state = 'fast';

-- ---------------------------------------------------------------- work
create table job (
    kind           text not null,
    key            text not null,
    org            text not null,
    due_at         bigint not null,
    payload        text not null,
    attempt        bigint not null default 0,
    node           text not null default '',    -- who works on it
    claim          text not null default '',    -- one taking of it; '' = nobody works on it
    lease_until_at bigint not null default 0,   -- when others may take it over; 0 = nobody works on it
    primary key (kind, key)
);
create index job_by_due on job (kind, lease_until_at, due_at);

create table counter (
    org   text not null,
    kind  text not null,
    value bigint not null,
    primary key (org, kind)
);

-- Answers to requests with an Idempotency-Key, kept for 24 h. state: running, done.
create table idempotency (
    principal    text not null,
    key          text not null,
    route        text not null,
    body_hash    text not null,
    state        text not null,
    status       bigint,
    content_type text,
    answer       text,
    created_at   bigint not null,
    expires_at   bigint not null,
    primary key (principal, key)
);
create index idempotency_by_expiry on idempotency (expires_at);

-- ---------------------------------------------------------------- things kept
create table file (
    id         text not null primary key,
    org        text not null references org (id),
    kind       text not null,
    path       text not null,
    media_type text not null,
    bytes      bigint not null,
    sha256     text not null,
    created_at bigint not null
);
create index file_by_org on file (org, kind, created_at);

-- Settings of the server (org = '') and of an organisation.
create table setting (
    org   text not null,
    name  text not null,
    value text not null,
    primary key (org, name)
);

-- Mail and SMS that no provider carried away: the console's outbox page.
create table notice (
    id         text not null primary key,
    org        text not null,
    channel    text not null,             -- mail, sms, push
    recipient  text not null,
    subject    text not null default '',
    body       text not null,
    state      text not null,
    error      text,
    created_at bigint not null,
    sent_at    bigint
);
create index notice_by_org on notice (org, created_at);

create table audit (
    id      text not null primary key,
    org     text not null,
    actor   text not null,
    action  text not null,
    object  text not null,
    detail  text not null default '{}',
    time_at bigint not null
);
create index audit_by_org on audit (org, time_at);

-- The position of the newest event; the writer takes the next ones from here.
insert into counter (org, kind, value) values ('', 'event', 0);
