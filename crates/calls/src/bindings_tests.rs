//! Registered contacts: in memory, on disk, and after a restart, on both engines.

use kernel::db::testing::TestDb;

use super::*;

fn contact(nth: usize, expires_at_ms: i64) -> Binding {
    Binding {
        org: "org_a".into(),
        extension: "1001".into(),
        line: "line_1".into(),
        contact: format!("sip:1001@192.0.2.{nth}:5060;transport=tcp;x=\"%20\""),
        instance: Some("<urn:uuid:1>".into()),
        call_id: "abc@host".into(),
        cseq: 7,
        q: 500,
        expires_at_ms,
        transport: Transport::Tcp,
        source: "[2001:db8::7]:40000".parse().unwrap(),
        local: "192.0.2.1:5060".parse().unwrap(),
        path: vec!["<sip:proxy;lr>".into()],
        user_agent: "phone/1".into(),
        srtp: true,
    }
}

fn save(bindings: Vec<Binding>) -> BindingChange {
    BindingChange { save: bindings, remove: Vec::new() }
}

#[tokio::test]
async fn contacts_come_back_after_a_restart_word_for_word() {
    for test in TestDb::each().await {
        let node: Arc<str> = "node1".into();
        let bindings = Bindings::load(test.db.clone(), node.clone(), 0).await.unwrap();
        bindings.change("org_a", "1001", save(vec![contact(1, 1_000), contact(2, 5_000)]), 0).await.unwrap();
        let moved = Binding { cseq: 8, source: "192.0.2.9:1".parse().unwrap(), ..contact(2, 9_000) };
        bindings.change("org_a", "1001", save(vec![moved.clone()]), 10).await.unwrap();
        assert_eq!(bindings.of("org_a", "1001", 20).len(), 2);
        assert_eq!(bindings.of("org_a", "1001", 1_000), std::slice::from_ref(&moved), "a lapsed contact is none");
        assert_eq!(bindings.of("org_b", "1001", 20), []);

        let again = Bindings::load(test.db.clone(), node, 2_000).await.unwrap();
        assert_eq!(again.of("org_a", "1001", 2_000), std::slice::from_ref(&moved));
        let other_node = Bindings::load(test.db.clone(), "node2".into(), 2_000).await.unwrap();
        assert_eq!(other_node.of("org_a", "1001", 2_000), []);

        let gone = BindingChange { save: Vec::new(), remove: vec![moved.contact] };
        again.change("org_a", "1001", gone, 2_000).await.unwrap();
        assert_eq!(again.of("org_a", "1001", 2_000), []);
        assert!(again.map().is_empty(), "memory is given back");
        let rows = test.db.all("select contact from binding", Vec::new()).await.unwrap();
        assert!(rows.is_empty());
    }
}

#[tokio::test]
async fn an_extension_has_so_many_contacts_and_no_more() {
    let test = TestDb::sqlite().await;
    let bindings = Bindings::load(test.db.clone(), "node1".into(), 0).await.unwrap();
    for nth in 0..MAX_BINDINGS + 3 {
        let expires_at_ms = 10_000 + i64::try_from(nth).unwrap();
        bindings.change("org_a", "1001", save(vec![contact(nth, expires_at_ms)]), 0).await.unwrap();
    }
    let kept = bindings.of("org_a", "1001", 0);
    assert_eq!(kept.len(), MAX_BINDINGS);
    assert!(kept.iter().all(|binding| binding.expires_at_ms >= 10_003), "the newest stay");
    let rows = test.db.all("select contact from binding", Vec::new()).await.unwrap();
    assert_eq!(rows.len(), MAX_BINDINGS);
    assert!(rows[0].text("contact").unwrap().contains("%20"));
}

#[tokio::test]
async fn devices_that_register_at_the_same_moment_are_all_kept() {
    let test = TestDb::sqlite().await;
    let bindings = Bindings::load(test.db.clone(), "node1".into(), 0).await.unwrap();
    bindings.change("org_a", "1001", save(vec![contact(1, 5_000)]), 0).await.unwrap();
    let leaving = BindingChange { save: Vec::new(), remove: vec![contact(1, 5_000).contact] };
    // All are begun before any of them is committed.
    let (left, second, third) = tokio::join!(
        bindings.change("org_a", "1001", leaving, 0),
        bindings.change("org_a", "1001", save(vec![contact(2, 5_000)]), 0),
        bindings.change("org_a", "1001", save(vec![contact(3, 5_000)]), 0),
    );
    assert!(left.is_ok() && second.is_ok() && third.is_ok());
    let mut known: Vec<String> = bindings.of("org_a", "1001", 0).into_iter().map(|binding| binding.contact).collect();
    known.sort();
    assert_eq!(known, [contact(2, 0).contact, contact(3, 0).contact]);
    let again = Bindings::load(test.db.clone(), "node1".into(), 0).await.unwrap();
    assert_eq!(again.of("org_a", "1001", 0).len(), 2, "as the store has it");
}

#[tokio::test]
async fn the_contact_of_a_websocket_lasts_as_long_as_its_connection() {
    for test in TestDb::each().await {
        let bindings = Bindings::load(test.db.clone(), "node1".into(), 0).await.unwrap();
        let source = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let web = |nth, port| Binding { transport: Transport::Wss, source: source(port), ..contact(nth, 5_000) };
        let stream = Binding { source: source(1), ..contact(3, 5_000) };
        bindings.change("org_a", "1001", save(vec![web(1, 1), web(2, 2), stream.clone()]), 0).await.unwrap();
        // The first phone comes back by another connection, and only then its old one is found closed.
        bindings.change("org_a", "1001", save(vec![web(1, 4)]), 0).await.unwrap();
        bindings.lost_connection("org_a", "1001", source(1)).await.unwrap();
        assert_eq!(bindings.of("org_a", "1001", 0).len(), 3);
        bindings.lost_connection("org_b", "1001", source(2)).await.unwrap();
        bindings.lost_connection("org_a", "1001", source(2)).await.unwrap();
        assert_eq!(bindings.of("org_a", "1001", 0), [stream.clone(), web(1, 4)]);
        assert_eq!(test.db.all("select contact from binding", Vec::new()).await.unwrap().len(), 2);

        let again = Bindings::load(test.db.clone(), "node1".into(), 0).await.unwrap();
        assert_eq!(again.of("org_a", "1001", 0), [stream], "no WebSocket outlives its server");
    }
}
