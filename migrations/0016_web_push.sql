-- Browsers that are told of news while no page of ours is open (web push), and what they are still to be told. Owner:
-- crates/kernel.

-- A browser of somebody. Its address is a secret, and lies sealed with the keys.
create table push_subscription (
    org        text not null references org (id),
    id         text not null,                  -- psub_...
    owner      text not null,                  -- per_..., or whom a desk knows: vis_...
    held_as    text not null,                  -- session, token, desk: what the credential is
    held_by    text not null,                  -- the credential that it came with, and ends with
    endpoint   text not null,                  -- SHA-256 of the address
    sealed     text not null,                  -- JSON: the address and the browser's keys
    locale     text not null,
    page       text not null,                  -- path of the page that asked; empty = the desk knows
    renewed_at bigint not null,
    expires_at bigint not null,
    primary key (org, id)
);
create unique index push_subscription_by_endpoint on push_subscription (org, owner, endpoint);
create index push_subscription_by_holder on push_subscription (org, held_by);
create index push_subscription_by_expiry on push_subscription (expires_at);

-- One row for a browser and what it is about. What it says is made when it is sent.
create table push_message (
    org          text not null references org (id),
    subscription text not null,
    topic        text not null,                -- a room
    version      bigint not null,              -- counts what there was to tell
    state        text not null,                -- pending, sent
    due_at       bigint not null,
    expires_at   bigint not null,
    attempts     bigint not null,
    sent_at      bigint not null,              -- 0 = never
    primary key (org, subscription, topic)
);
create index push_message_due on push_message (due_at) where state = 'pending';
create index push_message_by_topic on push_message (org, topic);
