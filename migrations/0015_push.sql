-- What is found by a room when it is erased, and where browsers are told of news (web push). Owner: crates/tandem, chat.

create index notice_of on notice (org, about) where about is not null;
create index chat_qr_by_room on chat_qr (org, room) where room is not null;
