//! What the browser of a closed page is told: the desk is asked in the moment in which it would be sent.

use kernel::push::{About, Composed, Composer};
use serde_json::json;

use super::stage::{Stage, draft};
use crate::chat::model::Mark;

#[tokio::test]
async fn a_visitor_whose_page_only_seems_to_be_open_is_told_once_it_is_gone() {
    for stage in Stage::each(&[]).await {
        let (opened, ann) = stage.room().await;
        let room = &opened.room;
        let (org, owner, topic) = (stage.org.clone(), room.visitor.clone(), room.id.clone());
        let about = About { org, owner, topic, locale: "en".to_owned(), page: String::new() };
        let told = async || stage.chats.compose(&about).await.unwrap();
        assert_eq!(told().await, Composed::Nothing, "nobody has answered");

        let mut page = stage.chats.hub().subscribe(&ann);
        page.join(&room.id);
        stage.chats.send(&stage.application(), &room.id, draft("On its way", "a1")).await.unwrap();
        assert!(matches!(told().await, Composed::Undecided(_)), "a phone that was locked keeps its socket for a while");
        drop(page);
        let Composed::Told(notice) = told().await else { panic!("nobody is here now") };
        assert_eq!((&notice["unread"], &notice["body"]), (&json!(1), &json!("You have a new answer")));

        // A page that got the words shows them itself.
        let mut page = stage.chats.hub().subscribe(&ann);
        page.join(&room.id);
        stage.chats.mark(&ann, &room.id, Mark { delivered_seq: 1, read_seq: 0 }).await.unwrap();
        assert_eq!(told().await, Composed::Nothing);
    }
}
