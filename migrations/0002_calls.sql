-- Telephony: who has which number, where phones are registered, where carriers stand, what happened
-- on each call. Owner: crates/calls. One dialect for SQLite and PostgreSQL: see docs/sql.md.

-- ---------------------------------------------------------------- inside the organisation
-- One number space per organisation (the documents' "voice id"): kind person or team.
create table voice_number (
    org    text not null,
    number text not null,
    kind   text not null,
    target text not null,                 -- an extension's or a team's id
    primary key (org, number)
);

-- A number inside an organisation that rings a person's phones; address of record number@domain.
create table extension (
    id         text not null primary key,
    org        text not null references org (id),
    number     text not null,
    domain     text not null,             -- '' = the server's own address
    person     text not null,
    name       text not null,             -- shown to whom it calls
    voicemail  boolean not null default false,  -- whoever calls in vain may leave a message
    created_at bigint not null,
    unique (org, number),
    unique (domain, number)
);
create index extension_by_person on extension (org, person);

-- One line: a digest user name that may register and call as an extension. Hashes only, no password.
create table sip_credential (
    id          text not null primary key,
    org         text not null references org (id),
    extension   text not null references extension (id),
    domain      text not null,
    username    text not null,
    realm       text not null,
    ha1_md5     text not null,
    ha1_sha256  text not null,
    srtp        boolean not null default false,
    created_at  bigint not null,
    revoked_at  bigint,
    unique (domain, username)
);

-- One registered contact (RFC 3261 section 10) with the flow it came by.
create table binding (
    org        text not null,
    extension  text not null,             -- the extension's number
    contact    text not null,             -- exactly as it was sent
    line       text not null,
    node       text not null,             -- who holds the flow
    instance   text,
    call_id    text not null,
    cseq       bigint not null,
    q          bigint not null,           -- thousandths
    expires_at bigint not null,
    transport  text not null,
    source     text not null,
    local      text not null,
    path       text not null default '[]',
    user_agent text not null default '',
    srtp       boolean not null default false,
    primary key (org, extension, contact)
);
create index binding_by_node on binding (node, expires_at);

create table team (
    id         text not null primary key,
    org        text not null references org (id),
    number     text not null,
    name       text not null,
    strategy   text not null,             -- ring_all
    created_at bigint not null,
    unique (org, number)
);

create table team_member (
    org       text not null,
    team      text not null references team (id),
    extension text not null,              -- the extension's number
    position  bigint not null,
    primary key (team, extension)
);

-- ---------------------------------------------------------------- outside
create table trunk (
    id              text not null primary key,
    org             text not null references org (id),
    name            text not null,
    username        text,
    password_sealed text,
    domain          text,
    register        boolean not null default false,
    ping            boolean not null default false,
    srtp            boolean not null default false,
    caller_ids      text not null default '[]',   -- verified numbers, the first is the default
    pool            text not null default '[]',   -- numbers that masked calls may show
    position        bigint not null,              -- trunks are tried in this order
    state           text not null default 'ready',
    state_at        bigint not null default 0,
    created_at      bigint not null,
    unique (org, name)
);

create table trunk_target (
    trunk     text not null references trunk (id),
    position  bigint not null,
    host      text not null,
    port      bigint,
    transport text not null,
    primary key (trunk, position)
);

-- A public number and what it reaches: flow, person, team or meetings.
create table number (
    org        text not null references org (id),
    e164       text not null,
    kind       text not null,
    target     text not null,             -- flow id, extension's or team's number, '' for meetings
    created_at bigint not null,
    primary key (org, e164)
);
create index number_by_e164 on number (e164);

-- ---------------------------------------------------------------- calls
-- A call and its legs: legs live and die with their call and are never asked for alone, so they are
-- one JSON list in its row, rewritten in the same commit as the event that tells of the change.
create table call (
    id          text not null primary key,
    org         text not null references org (id),
    node        text not null,            -- where it lives
    direction   text not null,
    from_number text not null,
    to_number   text not null,
    state       text not null,
    cause       text,
    ended_by    text,
    run         text not null default '', -- the flow run that drives it
    masked      boolean not null default false,
    legs        text not null default '[]',
    started_at  bigint not null,
    ringing_at  bigint,
    answered_at bigint,
    ended_at    bigint
);
create index call_by_org on call (org, id);
create index call_live on call (node) where ended_at is null;

-- Whose phones took part in a call: what a member sees as its own calls.
create table call_party (
    org       text not null,
    extension text not null,
    call      text not null,
    primary key (org, extension, call)
);
create index call_party_by_call on call_party (org, call);

create table recording (
    id         text not null primary key,
    org        text not null references org (id),
    call       text not null,
    node       text not null,
    state      text not null,             -- recording, ready, failed
    path       text not null,             -- inside the files' folder
    seconds    double precision not null default 0,
    channels   bigint not null default 2,
    sha256     text not null default '',
    started_at bigint not null,
    ready_at   bigint
);
create index recording_by_call on recording (org, call);
create index recording_open on recording (node) where state = 'recording';

-- A message in a person's box (the box is the extension's number).
create table voicemail (
    id          text not null primary key,
    org         text not null references org (id),
    box         text not null,
    call        text not null,
    node        text not null,
    from_number text not null,
    state       text not null,            -- recording, left
    path        text not null,
    seconds     double precision not null default 0,
    sha256      text not null default '',
    left_at     bigint not null,
    heard_at    bigint
);
create index voicemail_by_box on voicemail (org, box, id);
create index voicemail_open on voicemail (node) where state = 'recording';

-- Addresses that failed to prove who they are too often.
create table ban (
    address    text not null primary key,
    until_at   bigint not null,
    banned_at  bigint not null
);
