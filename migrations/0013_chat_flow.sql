-- Saved flows that answer chats. Owner: crates/tandem, chat (chat_flow, chat_product) and flows (flow_run).

-- The flow that answers the product's new rooms.
alter table chat_product add column flow text;

-- A room that a flow answers. state: waiting (for the visitor's first sign), due (to begin at once), running, over.
create table chat_flow (
    org        text not null references org (id),
    room       text not null,
    flow       text not null,
    state      text not null,
    run        text,                           -- once it has begun
    cause      text,                           -- how it ended
    created_at bigint not null,
    ended_at   bigint,
    primary key (org, room)
);
create index chat_flow_by_state on chat_flow (state, created_at) where state <> 'over';

-- A run on a room has no call: it ends by itself.
alter table flow_run add column room text;
alter table flow_run add column cause text;
alter table flow_run add column ended_at bigint;
create index flow_run_by_room on flow_run (org, room) where room is not null;
