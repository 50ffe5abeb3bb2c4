-- Meetings of two parties who do not learn each other's number. Owner: crates/tandem, meetings.

create table app_user (
    org        text not null references org (id),
    app        text not null references app (id),
    uid        text not null,                  -- as the application knows the person
    name       text not null default '',
    number     text,
    email      text,
    call_type  text not null,                  -- phone, browser
    updated_at bigint not null,
    primary key (org, app, uid)
);

create table meeting (
    org          text not null references org (id),
    id           bigint not null,              -- from counter (org, 'meeting')
    app          text not null references app (id),
    order_id     text not null,
    caller_uid   text not null,
    receiver_uid text not null,
    state        text not null,                -- scheduled, open, connecting, live, ended
    cause        text,
    starts_at    bigint not null,
    ends_at      bigint not null,
    revision     bigint not null,
    body         text not null,                -- the rest, as JSON
    primary key (org, id)
);
create index meeting_by_app on meeting (org, app, id);
create index meeting_by_order on meeting (org, app, order_id);
create index meeting_by_caller on meeting (org, app, caller_uid, starts_at);
create index meeting_by_receiver on meeting (org, app, receiver_uid, starts_at);
create index meeting_by_start on meeting (org, starts_at);
create index meeting_up on meeting (state) where state in ('connecting', 'live');
