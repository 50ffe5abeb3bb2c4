//! The registrar, over the wire.

use crate::harness::Server;

#[tokio::test]
async fn a_phone_registers_refreshes_and_leaves() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let contact = format!("<sip:1001@{}>", phone.addr);
    let ok = phone.register(&contact, "Expires: 120\r\n").await;
    assert_eq!(ok.code(), 200, "{}", ok.text);
    assert!(ok.get("Contact").starts_with(&format!("{contact};expires=1")), "{}", ok.text);
    let stored = server.ports.bindings.lock().unwrap()["1001"].clone();
    assert_eq!((stored.len(), stored[0].source), (1, phone.addr));
    assert_eq!(&*stored[0].line, "line_1001");

    let gone = phone.register("*", "Expires: 0\r\n").await;
    assert_eq!((gone.code(), gone.get("Contact")), (200, ""));
    assert!(server.ports.bindings.lock().unwrap()["1001"].is_empty());
}

#[tokio::test]
async fn brief_registrations_wrong_passwords_and_foreign_domains_are_refused() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let contact = format!("<sip:1001@{}>", phone.addr);
    let brief = phone.register(&contact, "Expires: 30\r\n").await;
    assert_eq!((brief.code(), brief.get("Min-Expires")), (423, "60"));

    let mut stranger = server.phone("6666").await;
    assert_eq!(stranger.register("<sip:6666@x>", "").await.code(), 403);

    let request =
        phone.request("REGISTER", "sip:other.example", "", "").replace("sip:1001@127.0.0.1", "sip:1001@other.example");
    phone.send(&request).await;
    phone.expect(403).await;
}

#[tokio::test]
async fn options_and_keep_alives_are_answered() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let options = phone.request("OPTIONS", "sip:127.0.0.1", "", "");
    phone.send(&options).await;
    let ok = phone.expect(200).await;
    assert!(ok.get("Allow").contains("PRACK") && ok.get("Supported").contains("timer"));
    assert!(ok.get("Via").contains(&format!("rport={}", phone.addr.port())));
    phone.send("\r\n\r\n").await;
    assert_eq!(phone.recv().await.text, "\r\n");
}
