-- How people get into the console. Owner: crates/kernel. One dialect for SQLite and PostgreSQL: see docs/sql.md.

-- Who runs the installation: sees every organisation. Is no member of any.
create table administrator (
    id            text not null primary key,
    name          text not null,
    email         text unique,              -- lower case; null = signs in by link only
    password_hash text,                     -- argon2; null = signs in by link only
    created_at    bigint not null,
    signed_in_at  bigint                    -- null = never yet
);

-- A browser of an administrator, and the organisation that it looks at.
create table administrator_session (
    id            text not null primary key,
    administrator text not null references administrator (id),
    org           text not null default '',  -- '' = none chosen yet
    token_hash    text not null unique,
    address       text not null default '',
    user_agent    text not null default '',
    created_at    bigint not null,
    last_used_at  bigint not null,
    expires_at    bigint not null
);
create index administrator_session_by_administrator on administrator_session (administrator);
create index administrator_session_by_expiry on administrator_session (expires_at);

-- Links that sign in once; only the SHA-256 of what they carry is kept.
create table sign_in_link (
    id            text not null primary key,
    token_hash    text not null unique,
    org           text not null default '',  -- a person's organisation; '' = of an administrator
    person        text not null default '',
    administrator text not null default '',
    created_at    bigint not null,
    expires_at    bigint not null,
    used_at       bigint
);
create index sign_in_link_by_expiry on sign_in_link (expires_at);
create index person_by_email on person (email) where email is not null;

-- What the console lists by organisation: recordings, and calls by the hour in which they began.
create index recording_by_org on recording (org, id);
create index call_by_start on call (org, started_at);
