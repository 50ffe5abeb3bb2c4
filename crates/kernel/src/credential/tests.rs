//! Recognising credentials, and every statement of people, applications and organisations on both engines.

use super::*;
use crate::kernel::testing::{self, START_MS};
use crate::org::NewOrg;
use crate::person::NewPerson;

async fn ann(kernel: &Kernel) -> (String, String, Secret) {
    let org = kernel.create_org(NewOrg { name: "dev".into(), ..NewOrg::default() }).await.unwrap();
    let new = NewPerson { name: "Ann".into(), ..NewPerson::default() };
    let (person, token) = kernel.create_person(&org.id, new).await.unwrap();
    (org.id, person.id, token)
}

#[tokio::test]
async fn what_is_no_credential_of_ours_is_nobody() {
    for kernel in testing::each().await {
        let (_, _, token) = ann(&kernel).await;
        let long = format!("pt_{}", "x".repeat(1_000));
        let cut = &token.expose()[..token.expose().len() - 1];
        for wrong in ["", "pt_", "x", "ak_x", "pk_x", "st_x", "é€", "pt_'; drop table person", &long, cut] {
            assert_eq!(kernel.authenticate(wrong).await.unwrap(), None, "{wrong}");
            assert_eq!(kernel.authenticate_session(wrong).await.unwrap(), None, "{wrong}");
        }
        let as_session = token.expose().replace("pt_", "st_");
        assert_eq!(kernel.authenticate(&as_session).await.unwrap(), None);
    }
}

#[tokio::test]
async fn only_hashes_are_stored() {
    for kernel in testing::each().await {
        let (_, _, token) = ann(&kernel).await;
        let rows = kernel.db.all("select token_hash from person_token", args![]).await.unwrap();
        assert_eq!(rows[0].text("token_hash").unwrap(), token_hash(token.expose()));
    }
}

#[tokio::test]
async fn a_token_is_revoked_at_once_here_and_soon_by_another_process() {
    for kernel in testing::each().await {
        let (org, person, first) = ann(&kernel).await;
        let second = kernel.create_person_token(&org, &person, "laptop").await.unwrap();
        let id = kernel.authenticate(first.expose()).await.unwrap().unwrap().id;
        kernel.revoke_person_token(&org, &id).await.unwrap();
        assert_eq!(kernel.authenticate(first.expose()).await.unwrap(), None);
        assert!(kernel.revoke_person_token(&org, &id).await.is_err(), "it is gone already");
        assert_eq!(kernel.person_tokens(&org, &person).await.unwrap().len(), 1);

        // Another process revokes: believed from memory for two seconds, no longer.
        assert!(kernel.authenticate(second.expose()).await.unwrap().is_some());
        kernel.db.run("update person_token set revoked_at = 1", args![]).await.unwrap();
        kernel.hand.advance(KNOWN_MS);
        assert_eq!(kernel.authenticate(second.expose()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn use_is_noted_to_the_hour() {
    for kernel in testing::each().await {
        let (org, person, token) = ann(&kernel).await;
        let used = async || {
            kernel.authenticate(token.expose()).await.unwrap().unwrap();
            // The note is queued: wait until it is written.
            kernel.db.writer().flush().await.unwrap();
            kernel.person_tokens(&org, &person).await.unwrap()[0].last_used_at
        };
        assert_eq!(used().await, Some(START_MS));
        kernel.hand.advance(USED_STEP_MS - 1);
        assert_eq!(used().await, Some(START_MS));
        kernel.hand.advance(KNOWN_MS);
        assert_eq!(used().await, Some(START_MS + USED_STEP_MS - 1 + KNOWN_MS));
    }
}

#[test]
fn memory_of_credentials_is_bounded() {
    let known = KnownCredentials::default();
    let credential =
        Credential { id: "x".into(), principal: Principal::Publishable { org: "o".into(), app: "a".into() } };
    for n in 0..10_000 {
        known.put(n.to_string(), credential.clone(), 0);
    }
    assert_eq!(known.0.lock().unwrap().len(), MAX_KNOWN);
    known.put("late".into(), credential, KNOWN_MS);
    assert!(known.get("late", KNOWN_MS).is_some());
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for kernel in crate::db::testing::TestDb::each().await {
        let bad = kernel
            .unpreparable(&[
                ALL,
                crate::person::ALL,
                crate::app::ALL,
                crate::kernel::ALL,
                crate::org::ALL,
                crate::org_settings::ALL,
                crate::session::ALL,
            ])
            .await;
        assert!(bad.is_empty(), "{bad:#?}");
    }
}
