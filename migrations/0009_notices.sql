-- Notices that go out by a provider: how often one was tried, and when it is tried again. Owner: crates/kernel.

alter table notice add column attempts bigint not null default 0;
