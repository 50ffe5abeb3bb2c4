//! Runs that the command line ordered: each begins once, or says why it does not.

use kernel::Job;
use serde_json::{Value, json};
use voice::cause::Cause;

use super::stage::*;
use crate::flows::{orders::JOB_KIND, store};

impl Stage {
    /// What `tandem flow run` writes; gives the run's id.
    async fn order(&self, mut order: Value) -> String {
        let now_ms = self.kernel.clock.now_ms();
        let run = self.kernel.ids.new("run", now_ms);
        order["run"] = run.clone().into();
        let job = Job::new(&self.org.id, JOB_KIND, &run, now_ms, order);
        self.kernel.db.writer().commit(vec![job.schedule_once_write()]).await.unwrap();
        run
    }

    async fn has_job(&self, run: &str) -> bool {
        self.kernel.jobs.get(&self.org.id, JOB_KIND, run).await.unwrap().is_some()
    }

    async fn run(&self, run: &str) -> Option<store::Run> {
        store::run(&self.kernel.db, &self.org.id, run).await.unwrap()
    }

    /// The run's row, once its job is over.
    async fn settled(&self, run: &str) -> store::Run {
        within(async {
            while self.has_job(run).await {
                nap().await;
            }
        })
        .await;
        self.run(run).await.expect("the command line named it")
    }
}

fn calling(number: &str) -> Value {
    json!({"flow": [{"id": 1, "type": "call", "number": number, "next_step": 2}, {"id": 2, "type": "hangup"}]})
}

#[tokio::test]
async fn an_order_that_cannot_be_carried_out_leaves_a_run_that_says_why() {
    let stage = Stage::new().await;
    stage.person("1001").await;
    let orders = [
        (json!({"body": calling("9999")}), "9999"),
        (json!({"body": calling("1001"), "to": "112"}), "call"),
        (json!({"body": {"flow": [{"id": 1, "type": "hangup"}]}}), "no number was given"),
        (json!({"flow": "flow_gone"}), "gone"),
        (json!({"body": 7}), "at"),
        (json!({"to": 7}), "cannot be read"),
    ];
    for (order, expected) in orders {
        let run = stage.order(order.clone()).await;
        let settled = stage.settled(&run).await;
        let error = settled.error.expect("it has an error");
        assert!(error.contains(expected), "{order}: {error}");
        assert_eq!(settled.call, "");
    }
}

#[tokio::test]
async fn an_order_at_a_stopping_server_begins_at_the_next_start() {
    let stage = Stage::new().await;
    stage.person("1001").await;
    stage.calls.drain();
    let run = stage.order(json!({"body": calling("1001")})).await;
    // It is looked at, and put off.
    within(async {
        loop {
            let job = stage.kernel.jobs.get(&stage.org.id, JOB_KIND, &run).await.unwrap().expect("it is not forgotten");
            if job.due_ms > NOON {
                break;
            }
            nap().await;
        }
    })
    .await;
    assert_eq!(stage.run(&run).await, None);
    let mut stage = Stage::on(stage.stop().await, NOON + MINUTE_MS).await;
    let dialled = stage.dialled().await;
    assert_eq!(dialled.order.to_user, "1001");
    let begun = stage.settled(&run).await;
    assert_eq!((begun.error.as_deref(), begun.call.starts_with("call_")), (None, true));
    dialled.far.tell(remote_end(Cause::Busy, Some(486)));
    within(async {
        while !stage.is_completed(&begun.call).await {
            nap().await;
        }
    })
    .await;
}
