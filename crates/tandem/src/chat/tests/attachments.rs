//! Files in rooms: one of a message that could not be sent does not stay, and each belongs to one message of its sender.

use bytes::Bytes;
use futures_util::stream;
use kernel::Role;
use serde_json::json;
use tokio::sync::oneshot;

use super::stage::{Stage, draft};
use crate::chat::model::{Body, Draft, Kind, Refused};
use crate::chat::visit::{Attachment, Carried, NewFile};
use crate::chat::{Asker, ChatError};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

fn picture() -> Option<Carried> {
    Some(Carried { name: "picture.png".into(), content: Bytes::from_static(PNG) })
}

fn image(cid: &str) -> Draft {
    Draft { kind: Kind::Image, ..draft("picture.png", cid) }
}

fn naming(file: &Attachment, cid: &str) -> Draft {
    let body = Body::try_from(&json!({"file": &*file.id})).unwrap();
    Draft { kind: Kind::File, body, ..draft("", cid) }
}

async fn brought(stage: &Stage, by: &Asker, room: &str) -> Attachment {
    let new = NewFile { name: "a.txt".into(), media_type: "text/plain".into(), size: 5 };
    let awaited = stage.chats.await_file(by, room, new).await.unwrap();
    let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"words"))]);
    stage.chats.take_file(awaited.file, content).await.unwrap()
}

#[tokio::test]
async fn a_picture_of_a_message_that_is_refused_is_not_kept() {
    let limits = [("limit_messages_per_minute", "30"), ("limit_messages_burst", "2")];
    for stage in Stage::each(&limits).await {
        let (opened, visitor) = stage.room().await;
        let send = async |by: &Asker, draft| stage.chats.send_with(by, &opened.room.id, draft, picture()).await;
        let first = send(&visitor, image("1")).await.unwrap();
        assert_eq!((send(&visitor, image("1")).await.unwrap(), stage.files_kept()), (first, 1), "a retry");
        let auditor = stage.person("per_1", Role::Auditor);
        assert!(matches!(send(&auditor, image("2")).await, Err(ChatError::Forbidden)));
        let bad = Draft { author: "x".repeat(201), ..image("3") };
        assert!(matches!(send(&visitor, bad).await, Err(ChatError::Refused(Refused::Author))));
        let claim = Draft { side: Some(Body::from(true)), ..image("4") };
        assert!(matches!(send(&visitor, claim).await, Err(ChatError::Forbidden)));
        assert_eq!(stage.files_kept(), 1);
        send(&visitor, image("5")).await.unwrap();
        assert!(matches!(send(&visitor, image("6")).await, Err(ChatError::Limit(_))));
        assert_eq!(stage.files_kept(), 2);
        let stored = stage.stored(&opened.room.id).await;
        assert!(stored.iter().all(|message| message.body.as_ref().unwrap().value()["type"] == "image/png"));
    }
}

#[tokio::test]
async fn a_file_belongs_to_one_message_of_whoever_brought_it() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (chats, room) = (&stage.chats, &*opened.room.id);
        let agent = stage.person("per_1", Role::Agent);
        let of_agent = brought(&stage, &agent, room).await;
        let no_file = |sent| matches!(sent, Err(ChatError::Refused(Refused::NoFile)));
        assert!(no_file(chats.send(&visitor, room, naming(&of_agent, "1")).await), "somebody else's");
        chats.send(&agent, room, naming(&of_agent, "1")).await.unwrap();
        assert!(no_file(chats.send(&agent, room, naming(&of_agent, "2")).await), "named already");

        let own = brought(&stage, &visitor, room).await;
        let ack = chats.send(&visitor, room, naming(&own, "2")).await.unwrap();
        chats.delete(&visitor, room, ack.seq).await.unwrap();
        assert!(chats.file(&visitor, &own.id).await.is_err());
        assert!(chats.file(&visitor, &of_agent.id).await.is_ok(), "the other's stays");
        assert_eq!(stage.files_kept(), 1);
    }
}

#[tokio::test]
async fn a_place_takes_one_file_and_is_free_again_when_it_did_not_come() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let new = NewFile { name: "a.txt".into(), media_type: "text/plain".into(), size: 5 };
        let awaited = stage.chats.await_file(&visitor, &opened.room.id, new).await.unwrap().file;
        let broken = stream::iter([Err(std::io::Error::other("the line was cut"))]);
        assert!(stage.chats.take_file(awaited.clone(), broken).await.is_err());

        // One comes slowly, another one meanwhile.
        let (begin, begun) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let slow = stream::once(Box::pin(async move {
            begin.send(()).unwrap();
            gone.await.unwrap();
            Ok::<_, std::io::Error>(Bytes::from_static(b"first"))
        }));
        let (chats, file) = (stage.chats.clone(), awaited.clone());
        let first = stage.kernel.tasks.spawn(async move { chats.take_file(file, slow).await });
        let quick = || stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"other"))]);
        begun.await.unwrap();
        assert!(matches!(stage.chats.take_file(awaited.clone(), quick()).await, Err(ChatError::NotFound)));
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        let (_, open) = stage.chats.file(&visitor, &awaited.id).await.unwrap();
        assert_eq!(&open.bytes(100).await.unwrap()[..], b"first");
    }
}
