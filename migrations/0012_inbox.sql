-- The inbox of agents: who takes chats, which rooms wait, tags, canned replies, macros, search. Owner: crates/tandem, chat.

create index chat_room_by_closing on chat_room (org, closed_at, id) where closed_at is not null;
create index chat_room_waiting on chat_room (org, created_at, id) where state = 'open' and assignee is null;
create index chat_room_load on chat_room (org, assignee) where state = 'open' and assignee is not null;

-- People who said whether they take chats. Who never said so takes none.
create table chat_agent (
    org      text not null references org (id),
    person   text not null,
    state    text not null,                    -- available, away
    capacity bigint not null,                  -- open rooms at once
    idle_at  bigint not null,                  -- when a room was last given to or taken from the person
    revision bigint not null,
    primary key (org, person)
);

-- What is to be known of a room that nobody answers; without a row it waits since its visitor's first message.
create table chat_wait (
    org      text not null references org (id),
    room     text not null,
    since_at bigint not null,
    not_for  text,                             -- the person who gave it back
    held     boolean not null,                 -- somebody else answers, a flow: it is given to nobody
    primary key (org, room)
);

create table chat_tag (
    org  text not null references org (id),
    room text not null,
    tag  text not null,
    primary key (org, room, tag)
);
create index chat_tag_by_tag on chat_tag (org, tag);

create table chat_canned (
    org        text not null references org (id),
    id         text not null,
    shortcut   text not null,                  -- what is typed after the slash
    title      text not null,
    body       text not null,
    team       text,                           -- whose it is; null = everybody's
    created_at bigint not null,
    primary key (org, id)
);
create unique index chat_canned_by_shortcut on chat_canned (org, shortcut);

create table chat_macro (
    org        text not null references org (id),
    id         text not null,
    name       text not null,
    steps      text not null,                  -- a JSON list
    created_at bigint not null,
    primary key (org, id)
);
create unique index chat_macro_by_name on chat_macro (org, name);

-- From where a visitor last opened a room.
create table chat_visit (
    org        text not null references org (id),
    room       text not null,
    page       text,
    user_agent text,
    locale     text,
    primary key (org, room)
);

-- The words of messages and notes, folded, one blank between two.
create table chat_search (
    position bigint not null primary key,      -- of the event that told of the message
    org      text not null,
    room     text not null,
    seq      bigint not null,                  -- of a note: of the message that it stands after
    note     text,                             -- a note's id
    words    text not null,
    said_at  bigint not null
);
create unique index chat_search_by_message on chat_search (org, room, seq) where note is null;
create unique index chat_search_by_note on chat_search (org, room, note) where note is not null;

-- How far an organisation's events were read for it.
create table chat_search_mark (
    org      text not null primary key,
    position bigint not null
);

-- only sqlite
drop table if exists chat_search_index;
create virtual table chat_search_index using fts5 (org, words, content = 'chat_search', content_rowid = 'position',
    tokenize = 'ascii');
create trigger chat_search_put after insert on chat_search begin
    insert into chat_search_index (rowid, org, words) values (new.position, new.org, new.words);
end;
create trigger chat_search_take after delete on chat_search begin
    insert into chat_search_index (chat_search_index, rowid, org, words)
        values ('delete', old.position, old.org, old.words);
end;
-- only postgres
create index chat_search_index on chat_search using gin (array_to_tsvector(string_to_array(words, ' ')));
-- both
