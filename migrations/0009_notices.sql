-- Notices that go out by a provider: when one is tried, how often it was, until when there is a point in it, and the
-- link in it, sealed, until it was sent or is not good any more. Owner: crates/kernel.

alter table notice add column attempts bigint not null default 0;
alter table notice add column due_at bigint not null default 0;
alter table notice add column expires_at bigint not null default 0;
alter table notice add column link text;
create index notice_pending on notice (channel, due_at) where state = 'pending';
create index notice_with_link on notice (expires_at) where link is not null;
alter table notice add column about text;      -- what it tells of: what changes withdraws what was said before
create index notice_about on notice (org, about) where state = 'pending' and about is not null;
create index notice_to on notice (org, recipient);
