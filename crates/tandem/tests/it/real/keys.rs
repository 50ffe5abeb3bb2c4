//! Keys that one phone presses arrive at the other, once each, through the bridge.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::linphone::Linphone;
use crate::harness::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn keys_cross_the_bridge_between_two_codecs() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let mut baresip = Baresip::start(dev.phone("1001").await.answering().codecs(&["PCMA"])).await;
    let mut linphone = Linphone::start(dev.phone("1002").await.codecs(&["opus"])).await;
    linphone.dial("1001").await;
    baresip.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_millis(500)).await;
    linphone.press("1*9#").await;
    assert_eq!(baresip.keys(4).await, "1*9#");
    baresip.hang_up().await;
    linphone.expect("ended").await;
    server.stop().await;
}
