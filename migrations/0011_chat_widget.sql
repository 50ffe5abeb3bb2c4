-- What a visitor's page needs beside rooms and messages: attachments and ratings. Owner: crates/tandem, chat.

-- The content of one lies in files/chat/<org>/<id>. It is awaited until it was brought by its signed address.
create table chat_file (
    org        text not null references org (id),
    id         text not null,                  -- 24 hexadecimal digits
    room       text not null,
    sender     text not null,                  -- as a message's sender
    name       text not null,
    media_type text not null,
    size       bigint not null,                -- bytes: as it was announced, then as it came
    state      text not null,                  -- awaited, coming, stored, deleted
    message    text,                           -- the message that names it, no other one ever does
    created_at bigint not null,
    primary key (org, id)
);
create index chat_file_by_room on chat_file (org, room);
create index chat_file_by_id on chat_file (id);

-- How a visitor found a chat, once a room; the last word counts.
create table chat_rating (
    org        text not null references org (id),
    room       text not null,
    score      bigint not null,                -- 1 (very bad) to 5 (very good)
    comment    text not null,
    person     text,                           -- who answered
    created_at bigint not null,
    primary key (org, room)
);
create index chat_rating_by_time on chat_rating (org, created_at);
