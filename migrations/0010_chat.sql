-- Support chat: visitors, rooms, their messages, who has read them. Owner: crates/tandem, chat.

create table chat_visitor (
    org        text not null references org (id),
    id         text not null,
    app        text not null references app (id),
    user_id    text not null default '',       -- as the customer's own books name the visitor
    verified   boolean not null,               -- whether the application vouched for user_id
    name       text not null default '',
    email      text,
    created_at bigint not null,
    seen_at    bigint not null,
    primary key (org, id)
);
create unique index chat_visitor_by_user on chat_visitor (org, app, user_id) where verified;
create index chat_visitor_by_email on chat_visitor (org, email) where email is not null;

-- What a visitor's browser holds; only the SHA-256 is kept. Slides: each use puts the end off.
create table chat_visitor_token (
    hash       text not null primary key,
    org        text not null references org (id),
    visitor    text not null,
    created_at bigint not null,
    expires_at bigint not null
);
create index chat_visitor_token_by_visitor on chat_visitor_token (org, visitor);
create index chat_visitor_token_by_end on chat_visitor_token (org, expires_at);

create table chat_room (
    org        text not null references org (id),
    id         text not null,                  -- 24 hexadecimal digits
    app        text not null references app (id),
    product    text not null,
    user_id    text not null,
    label      text not null,                  -- org_id of document 002
    portfolio  text not null,
    event_id   text not null,
    is_login   boolean not null,
    is_proved  boolean not null,               -- whether the user was vouched for when it was opened
    state      text not null,                  -- open, closed
    visitor    text not null,
    assignee   text,                           -- a person
    team       text,
    seq_head   bigint not null,                -- number of the newest message
    open_key   text,                           -- of a room that was made unless there is one; gone when it is closed
    created_at bigint not null,
    last_at    bigint not null,
    closed_at  bigint,
    revision   bigint not null,
    primary key (org, id)
);
create unique index chat_room_by_open_key on chat_room (org, app, open_key) where open_key is not null;
create index chat_room_by_keys on chat_room (org, app, user_id, label, product, portfolio);
create index chat_room_by_label on chat_room (org, label, product, created_at, id);
create index chat_room_by_visitor on chat_room (org, visitor, created_at);
create index chat_room_by_age on chat_room (org, created_at, id);
create index chat_room_by_state on chat_room (org, state, last_at, id);
create index chat_room_by_assignee on chat_room (org, assignee) where assignee is not null;

create table chat_message (
    org        text not null,
    room       text not null,
    seq        bigint not null,                -- from 1 without holes
    id         text not null,                  -- 24 hexadecimal digits
    cid        text,                           -- the sender's own name of it
    sender     text not null,                  -- visitor:ID, person:ID, app:ID, system
    kind       text not null,                  -- text, image, file, system, call
    body       text,                           -- JSON; null once it was deleted
    side       text not null,                  -- JSON, as it was sent
    author     text not null,
    created_at bigint not null,
    edited_at  bigint,
    deleted_at bigint,
    primary key (org, room, seq)
-- A room's messages stand together: a page of them is read from a few pages of the file, not from one each.
-- only sqlite
) without rowid;
-- only postgres
);
-- both
create unique index chat_message_by_cid on chat_message (org, room, sender, cid) where cid is not null;

create table chat_receipt (
    org           text not null,
    room          text not null,
    who           text not null,               -- visitor, or as a message's sender
    side          text not null,               -- visitor, support
    delivered_seq bigint not null,
    read_seq      bigint not null,
    primary key (org, room, who)
);

-- What those who answer tell each other beside a room.
create table chat_note (
    org        text not null,
    id         text not null,
    room       text not null,
    after_seq  bigint not null,
    author     text not null,                  -- as a message's sender
    body       text not null,
    created_at bigint not null,
    primary key (org, id)
);
create index chat_note_by_room on chat_note (org, room, id);

-- The codes of products that an organisation chose itself; the others are preset.
create table chat_product (
    org  text not null references org (id),
    name text not null,
    code bigint not null,
    primary key (org, name)
);

-- Ids of QR codes, each good for one room.
create table chat_qr (
    org        text not null references org (id),
    id         text not null,
    portfolio  text not null default '',
    product    text not null default '',
    link       text,                           -- the master link that hands it out
    room       text,                           -- that it opened
    created_at bigint not null,
    used_at    bigint,
    primary key (org, id)
);
create index chat_qr_by_use on chat_qr (org, used_at, id);
create index chat_qr_by_link on chat_qr (org, link, id) where link is not null;

-- Links that each hand out the next unused id of a QR code.
create table chat_master_link (
    id         text not null primary key,      -- random: it names the organisation by itself
    org        text not null references org (id),
    app        text not null references app (id),
    workspace  text not null,
    product    text not null,
    created_at bigint not null
);
