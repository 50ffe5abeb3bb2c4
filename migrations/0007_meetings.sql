-- Meetings of two parties who do not learn each other's number. Owner: crates/tandem, meetings.

create table app_user (
    org        text not null references org (id),
    app        text not null references app (id),
    uid        text not null,                  -- as the application knows the person
    name       text not null default '',
    number     text,                           -- with +
    email      text,
    call_type  text not null,                  -- phone, browser
    updated_at bigint not null,
    primary key (org, app, uid)
);
create index app_user_by_number on app_user (org, number) where number is not null;

create table meeting (
    org             text not null references org (id),
    id              bigint not null,           -- from counter (org, 'meeting')
    app             text not null references app (id),
    order_id        text not null,
    caller_uid      text not null,
    receiver_uid    text not null,
    caller_number   text,                      -- with +; as the meeting knows them
    receiver_number text,
    state           text not null,             -- scheduled, open, connecting, live, ended
    cause           text,
    starts_at       bigint not null,
    ends_at         bigint not null,
    ended_at        bigint,
    revision        bigint not null,
    body            text not null,             -- the meeting as JSON
    primary key (org, id)
);
create unique index meeting_by_order on meeting (org, app, order_id, caller_uid, receiver_uid) where state <> 'ended';
create index meeting_by_caller on meeting (org, app, caller_uid, starts_at);
create index meeting_by_receiver on meeting (org, app, receiver_uid, starts_at);
create index meeting_by_caller_number on meeting (org, caller_number);
create index meeting_by_receiver_number on meeting (org, receiver_number);
create index meeting_by_start on meeting (org, starts_at, id);
create index meeting_by_end on meeting (org, ended_at) where ended_at is not null;
create index meeting_up on meeting (state) where state in ('connecting', 'live');

-- The digits by which a party comes in from a foreign phone; gone when the meeting has ended.
create table meeting_pin (
    org     text not null references org (id),
    pin     text not null,
    meeting bigint not null,
    role    text not null,                     -- caller, receiver
    primary key (org, pin)
);
create index meeting_pin_by_meeting on meeting_pin (org, meeting);

-- Sign-in tokens that were given out: good until they expire, unless they were revoked.
create table meeting_party_token (
    org        text not null references org (id),
    jti        text not null,
    app        text not null references app (id),
    uid        text not null,
    meeting    bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    primary key (org, jti)
);
create index meeting_party_token_by_meeting on meeting_party_token (org, meeting);

-- One-time links.
create table meeting_link (
    hash       text not null primary key,      -- of the token in the link
    org        text not null references org (id),
    app        text not null references app (id),
    uid        text not null,
    meeting    bigint not null,
    expires_at bigint not null,
    used_at    bigint
);
create index meeting_link_by_meeting on meeting_link (org, meeting);

-- Signed-in parties.
create table party_session (
    hash       text not null primary key,      -- of the cookie
    org        text not null references org (id),
    app        text not null references app (id),
    uid        text not null,
    meeting    bigint not null,                -- that of the token that signed in
    jti        text not null,                  -- that token; '' = a link
    created_at bigint not null,
    expires_at bigint not null
);
create index party_session_by_user on party_session (org, app, uid);
create index party_session_by_end on party_session (org, expires_at);
