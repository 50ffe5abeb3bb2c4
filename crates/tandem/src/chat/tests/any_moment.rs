//! Whoever sends goes away at any moment, tries again, on this node or another, while the room is closed, opened and
//! given away: at the end each message is there once, numbers have no holes, and everybody was told the same.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::stage::{Stage, draft};
use crate::chat::model::{Ack, Draft, Refused};
use crate::chat::{Asker, Change, ChatError, Chats, Heard, What};

/// Times that a sender tries before the test fails.
const MAX_TRIES: usize = 200;

/// One sender's message: on which node, how long it waits each time before it goes away, by how many looks.
#[derive(Clone, Debug)]
struct Plan {
    name: u8,
    is_second_node: bool,
    patience: Vec<u8>,
}

fn plan() -> impl Strategy<Value = Plan> {
    // Few names: several senders send the same message.
    (0u8..12, any::<bool>(), prop::collection::vec(0u8..6, 0..4)).prop_map(|(name, is_second_node, patience)| Plan {
        name,
        is_second_node,
        patience,
    })
}

/// Looks at a future so often, then drops it.
async fn give_up_after<F: Future>(looks: u8, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = looks;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Sends until it is acknowledged, as a client does.
async fn send(chats: &Chats, asker: &Asker, room: &str, plan: &Plan) -> Ack {
    let name = plan.name.to_string();
    for looks in &plan.patience {
        if let Some(Ok(ack)) = give_up_after(*looks, chats.send(asker, room, draft(&name, &name))).await {
            return ack;
        }
    }
    for _ in 0..MAX_TRIES {
        match chats.send(asker, room, draft(&name, &name)).await {
            Ok(ack) => return ack,
            Err(ChatError::Refused(Refused::Closed) | ChatError::Busy) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never acknowledged");
}

async fn scenario(plans: Vec<Plan>, changes: Vec<u8>) {
    let stage = Stage::sqlite(&[]).await;
    let (opened, visitor) = stage.room().await;
    let (room, app) = (&opened.room.id, stage.application());
    let second = stage.second_node();
    let mut ears = [stage.chats.hub().subscribe(&app), second.hub().subscribe(&app)];

    let sends = plans.iter().map(|plan| {
        let chats = if plan.is_second_node { &second } else { &stage.chats };
        send(chats, &visitor, room, plan)
    });
    let churn = async {
        for (n, change) in changes.iter().enumerate() {
            let chats = if change % 2 == 0 { &second } else { &stage.chats };
            let change = match change / 2 {
                0 => Change::Close,
                1 => Change::Reopen,
                _ => Change::Assign(Some(format!("per_{n}").into())),
            };
            match chats.change(&app, room, &change, |_| Vec::new()).await {
                Ok(_) | Err(ChatError::Busy) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
        while stage.chats.change(&app, room, &Change::Reopen, |_| Vec::new()).await.is_err() {}
    };
    let (acks, ()) = tokio::join!(join_all(sends), churn);

    let mut told: BTreeMap<u8, Ack> = BTreeMap::new();
    for (plan, ack) in plans.iter().zip(acks) {
        assert_eq!(told.entry(plan.name).or_insert_with(|| ack.clone()), &ack, "every try gets the same answer");
    }
    // Behind everything that each node has still to tell.
    for chats in [&stage.chats, &second] {
        chats.announce(&stage.org, room, &Draft::text("the end")).await.unwrap();
    }
    let stored = stage.stored(room).await;
    let seqs: Vec<i64> = stored.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=i64::try_from(stored.len()).unwrap()).collect::<Vec<_>>(), "no holes");
    assert_eq!(stored.len(), told.len() + 2, "each message once");
    for message in &stored {
        let Some(cid) = &message.cid else { continue };
        let name: u8 = cid.parse().unwrap();
        assert_eq!(told[&name], Ack { seq: message.seq, id: message.id.clone(), at_ms: message.created_ms });
    }
    // Both nodes' listeners together heard each message, each node's in order and once.
    let mut heard_by_any = Vec::new();
    for ear in &mut ears {
        let mut last = 0;
        while let Some(Heard::News(news)) = ear.try_next() {
            if let What::Message(message) = &news.what {
                assert!(message.seq > last, "in order, once");
                last = message.seq;
                heard_by_any.push(message.seq);
            }
        }
    }
    heard_by_any.sort_unstable();
    heard_by_any.dedup();
    assert_eq!(heard_by_any, seqs, "who listens misses nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn each_message_is_there_once_whatever_happens_when(
        plans in prop::collection::vec(plan(), 1..24),
        changes in prop::collection::vec(0u8..6, 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(scenario(plans, changes));
    }
}
