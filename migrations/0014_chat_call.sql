-- Calls that were begun in a chat. No number stands here: that of a visitor lives as long as its call rings.
-- Owner: crates/tandem, chat.

create table chat_call (
    org          text not null,
    id           text not null,                -- the call's own id
    room         text not null,
    app          text not null,
    seq          bigint not null,              -- the message of the room that tells of it
    mode         text not null,                -- browser, phone
    asked_by     text not null,                -- visitor, agent, app
    state        text not null,                -- ringing, talking, ended, missed, failed, canceled
    live         boolean not null,             -- ringing or talking
    unwanted     boolean not null,             -- somebody has asked for its end
    node         text not null,                -- the server that it is on
    asked_at     bigint not null,
    started_at   bigint,                       -- since when the two talked
    ended_at     bigint,
    talked_ms    bigint,
    recording    text not null,                -- none, awaited, landed
    recording_id text,
    recording_s  double precision,
    revision     bigint not null,
    primary key (org, id)
);
create unique index chat_call_by_live on chat_call (org, room) where live;
create index chat_call_by_room on chat_call (org, room, asked_at);
create index chat_call_unsettled on chat_call (node) where live or recording = 'awaited';
